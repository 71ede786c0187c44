//! The weather importer as a program.

tcs_service::main!(weather_importer::WeatherImporter);
