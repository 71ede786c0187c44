//! The program around a service: command line, configuration, log, runtime, exit code.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use tcs_wire::{Exit, Kind, Manifest, ServiceId, ServiceType};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use crate::arguments::{self, Arguments, Command};
use crate::context::{Context, Core};
use crate::ending::End;
use crate::guard::Guard;
use crate::printer;
use crate::process::{MANAGER_VARIABLE, ProcessContext};
use crate::service::Service;
use crate::settings::{self, Settings};
use crate::stop::Stop;
use crate::watchdog::Watchdog;
use crate::{describe, lifecycle, log, notify, rpc};

/// What a binary knows of itself at compile time; [`main!`](crate::main!) fills it in.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// Its file's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The service type, where the name does not say it.
    pub service_type: Option<&'static str>,
}

impl Binary {
    fn service_type(&self) -> Result<ServiceType, tcs_wire::IdError> {
        let service_type = match self.service_type {
            Some(text) => ServiceType::parse(text)?,
            None => ServiceType::from_binary_name(self.name)?,
        };
        service_type.refuse_reserved()?;
        Ok(service_type)
    }
}

/// Runs the program of a service from its command line to its exit code; called by [`main!`](crate::main!).
pub fn run_program<S: Service>(service: S, binary: &Binary) -> ExitCode {
    run(service, binary).into()
}

fn run<S: Service>(service: S, binary: &Binary) -> Exit {
    let manager = env::var(MANAGER_VARIABLE).ok().filter(|text| !text.is_empty());
    let parsed = match arguments::parse(binary, env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let service_type = match binary.service_type() {
        Ok(service_type) => service_type,
        Err(error) => return refuse(Exit::Usage, &error),
    };
    let arguments = match parsed(&service_type, manager.is_some()) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(Exit::Usage, &error),
    };
    let manifest = describe::manifest::<S>(binary, &service_type);
    if arguments.command == Some(Command::Describe) {
        return printer::json(&manifest);
    }
    let manager = match manager.as_deref().map(ServiceId::parse).transpose() {
        Ok(manager) => manager,
        Err(error) => return refuse(Exit::Configuration, &format!("{MANAGER_VARIABLE}: {error}")),
    };
    let read = settings::read(&arguments, &manifest, manager.is_none());
    let read = read.and_then(|settings| settings.typed::<S::Config>().map(|config| (settings, config)));
    let (settings, config) = match read {
        Ok(read) => read,
        Err(error) => return refuse(Exit::Configuration, &error),
    };
    match arguments.command {
        Some(command) => obey(command, &arguments, &settings, &manifest),
        None => {
            let program = Program {
                binary: *binary,
                arguments,
                settings,
                manager,
            };
            program.serve(service, config)
        }
    }
}

/// Ends before there is a service: one message for the user, on the screen or in the journal, and in the status.
fn refuse(exit: Exit, why: &dyn std::fmt::Display) -> Exit {
    let why = why.to_string();
    notify::status(&format!("failed: {}", why.lines().next().unwrap_or_default()));
    printer::error(&why);
    exit
}

fn obey(command: Command, arguments: &Arguments, settings: &Settings, manifest: &Manifest) -> Exit {
    match command {
        Command::Describe => printer::json(manifest),
        Command::Config => printer::json(&settings.effective(&manifest.config)),
        Command::Check => {
            settings
                .warnings
                .iter()
                .for_each(|warning| printer::error(warning));
            printer::line(&format!("{}: {}", arguments.id, settings.source))
        }
        Command::Health => ask_health(arguments, settings),
    }
}

fn ask_health(arguments: &Arguments, settings: &Settings) -> Exit {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(Exit::Failed, &error),
    };
    runtime.block_on(async {
        let process = match ProcessContext::new(&arguments.id, &settings.nats, false, None).await {
            Ok(process) => process,
            Err(error) => return refuse(Exit::Configuration, &error),
        };
        let Some(bus) = process.bus() else {
            return Exit::Unavailable;
        };
        match rpc::ask_health(bus, &arguments.id).await {
            Ok(reply) => {
                printer::json(&reply);
                if reply.healthy { Exit::Done } else { Exit::Failed }
            }
            Err(error) => refuse(
                Exit::Unavailable,
                &format!("{}: {error} ({})", arguments.id, process.addresses()),
            ),
        }
    })
}

/// A service that is about to run.
struct Program {
    binary: Binary,
    arguments: Arguments,
    settings: Settings,
    manager: Option<ServiceId>,
}

impl Program {
    fn serve<S: Service>(self, service: S, config: S::Config) -> Exit {
        match log::filter(&self.settings.log) {
            Ok(filter) => log::init(&self.arguments.id, filter),
            Err(error) => return refuse(Exit::Configuration, &error),
        }
        log::install_panic_hook();
        info!("version {}, {}", self.binary.version, self.settings.source);
        self.settings
            .warnings
            .iter()
            .for_each(|warning| warn!("{warning}"));
        let stop = Stop::new(self.settings.stop_timeout);
        let watchdog = Watchdog::new(S::WATCHDOG);
        let silence = (S::KIND == Kind::Job).then(|| (self.settings.silence, Arc::clone(&watchdog)));
        let guard = Guard::start(Arc::clone(&stop), silence);
        let (_guard, runtime) = match guard.and_then(|guard| Ok((guard, runtime()?))) {
            Ok(both) => both,
            Err(error) => return refuse(Exit::Failed, &format!("cannot set up the process: {error}")),
        };
        let end = runtime.block_on(self.live(service, config, stop, watchdog));
        // A blocking call of the author's that never returns must not hold the process.
        runtime.shutdown_background();
        end.exit
    }

    async fn live<S: Service>(
        self,
        mut service: S,
        config: S::Config,
        stop: Arc<Stop>,
        watchdog: Arc<Watchdog>,
    ) -> End {
        let Self {
            binary,
            arguments,
            settings,
            manager,
        } = self;
        let by_hand = manager.is_none();
        let process = ProcessContext::new(&arguments.id, &settings.nats, arguments.no_nats, manager).await;
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                let exit = refuse(Exit::Configuration, &crate::Error::from(error));
                return End {
                    exit,
                    status: tcs_wire::Status::Failed,
                    message: String::new(),
                };
            }
        };
        let (core, failures) = Core::new(arguments.id, process, stop, watchdog);
        let mut helpers = JoinSet::new();
        core.announce();
        helpers.spawn(follow(Arc::clone(&core), by_hand && settings.manage_streams));
        helpers.spawn(lifecycle::check_health(Arc::clone(&core)));
        helpers.spawn(answer(Arc::clone(&core), binary));
        let ctx = Context::<S>::new(Arc::clone(&core), config);
        let end = lifecycle::live(&mut service, &ctx, settings.required, failures).await;
        core.stop.decide(end.exit);
        let farewell = async {
            core.process.flush().await;
            helpers.shutdown().await;
            core.process.close().await;
        };
        tokio::select! {
            biased;
            () = farewell => {}
            () = core.stop.last_word() => warn!("NATS does not take the last word within the time for a stop"),
        }
        debug!("ended with exit code {}", end.exit.code());
        end
    }
}

/// Shows the state of the connection, and makes the streams by hand.
async fn follow(core: Arc<Core>, make_streams: bool) {
    let streams = async {
        if make_streams {
            core.process.ensure_streams().await;
        }
    };
    let connection = core
        .process
        .follow_connection(|connected| core.monitor.set_nats_away(!connected));
    tokio::join!(streams, connection);
}

async fn answer(core: Arc<Core>, binary: Binary) {
    match rpc::serve(&core, binary).await {
        Ok(_responder) => std::future::pending().await,
        Err(error) => error!("{error}"),
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
