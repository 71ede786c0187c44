//! The two macros that save an author the same lines in every service.

/// Makes the program of a service: `tcs_service::main!(HelloWorld);`
///
/// The expression is the service's value at the start. The service type is the name of the binary, `-` read as `_`;
/// where a file name cannot carry it, it is given: `main!(Camera::default(), type = "imaging.camera")`.
#[macro_export]
macro_rules! main {
    ($service:expr $(,)?) => {
        $crate::main!(@ $service, ::core::option::Option::None);
    };
    ($service:expr, type = $type:literal $(,)?) => {
        $crate::main!(@ $service, ::core::option::Option::Some($type));
    };
    (@ $service:expr, $type:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_program(
                $service,
                &$crate::Binary {
                    name: ::core::env!("CARGO_BIN_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                    service_type: $type,
                },
            )
        }
    };
}

/// Declares a configuration: a struct whose fields have a default each, and nothing else is needed.
///
/// ```
/// tcs_service::config! {
///     /// What is said, and how often.
///     struct Greeting {
///         /// What is said.
///         message: String = "Hello".to_owned(),
///         /// From one to the next.
///         interval: tcs_service::TimeSpan = tcs_service::TimeSpan::from_secs(5),
///     }
/// }
/// assert_eq!(Greeting::default().message, "Hello");
/// ```
///
/// The doc comments become the descriptions of the keys in the type's schema, where editors and `BINARY describe`
/// show them. A key that the struct does not have is an error. A struct with keys that must be given derives
/// `Deserialize` and `JsonSchema` itself, as `docs/writing-a-service.md` shows.
#[macro_export]
macro_rules! config {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $( $(#[$field_attribute:meta])* $field_visibility:vis $field:ident : $type:ty = $default:expr ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, $crate::serde::Deserialize, $crate::schemars::JsonSchema)]
        #[serde(crate = "tcs_service::serde", default, deny_unknown_fields)]
        #[schemars(crate = "tcs_service::schemars")]
        $visibility struct $name {
            $( $(#[$field_attribute])* $field_visibility $field: $type, )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }
    };
}
