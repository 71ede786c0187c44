use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tcs_testkit::{
    Consent, Contents, Machine, MachineConfig, NatsOptions, NatsServer, Prerequisites, Profile, Python,
    Stage, TestkitError, check_can_boot, workspace_root,
};

/// What a case's own machine is to be like.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// The machine; the stage is put in by [`Lab::site`].
    pub machine: MachineConfig,
    /// Its NATS server; `None` for a machine without one.
    pub nats: Option<NatsOptions>,
}

impl Default for SiteConfig {
    /// A machine `obs1` with JetStream on its 127.0.0.1:4222.
    fn default() -> Self {
        Self {
            machine: MachineConfig::default(),
            nats: Some(NatsOptions::of_machine()),
        }
    }
}

impl SiteConfig {
    /// The default with this text as `/etc/tcs/services.yaml`.
    #[must_use]
    pub fn with_services(services: &str) -> Self {
        let mut config = Self::default();
        config.machine = config
            .machine
            .with_file("/etc/tcs/services.yaml", services, 0o644);
        config
    }
}

/// A machine with the suite's binaries in it, and a NATS server in its network.
#[derive(Debug)]
pub struct Site {
    /// The machine.
    pub machine: Machine,
    server: Option<NatsServer>,
}

impl Site {
    /// Its NATS server.
    ///
    /// # Errors
    /// When the site was made without one.
    pub fn nats(&self) -> Result<&NatsServer> {
        self.server.as_ref().context("this site has no NATS server")
    }

    /// Installs the units for `/etc/tcs/services.yaml` and gives what the command said.
    ///
    /// # Errors
    /// When `tcs-systemd-gen install` does not end with 0.
    pub fn install(&self) -> Result<String> {
        Ok(self.machine.run_ok(&["tcs-systemd-gen", "install"])?)
    }
}

/// A machine with services of its own that several cases share at the same time.
#[derive(Debug)]
pub struct Group {
    /// Tells it apart.
    pub name: &'static str,
    /// Its `/etc/tcs/services.yaml`, whose units are installed.
    pub services: &'static str,
    /// What is done to it before the first case.
    pub prepare: fn(&Site) -> Result<()>,
}

/// What can be made for a case. Everything is made once and when it is first needed.
#[derive(Debug, Default)]
pub struct Lab {
    ready: OnceLock<Result<Ready, String>>,
    shared: OnceLock<Result<Arc<Site>, String>>,
    groups: Mutex<BTreeMap<&'static str, Arc<GroupSite>>>,
    booting: Mutex<Duration>,
}

type GroupSite = OnceLock<Result<Arc<Site>, String>>;

#[derive(Debug)]
struct Ready {
    nats_server: PathBuf,
}

impl Lab {
    /// Boots a machine as it is described, without anything put into it.
    ///
    /// # Errors
    /// When no machine can be booted here, or this one does not come up.
    pub fn boot(&self, config: &MachineConfig) -> Result<Machine> {
        self.ready()?;
        let machine = Machine::boot(config)?;
        *self.booting.lock().unwrap_or_else(PoisonError::into_inner) += machine.boot_time();
        Ok(machine)
    }

    /// Boots a machine with the suite in it and starts its NATS server.
    ///
    /// # Errors
    /// When the suite does not build, or either does not come up.
    pub fn site(&self, config: SiteConfig) -> Result<Site> {
        let machine = self.boot(&config.machine.with_stage(self.stage()?))?;
        let server = config
            .nats
            .map(|options| self.nats(&machine, &options))
            .transpose()?;
        Ok(Site { machine, server })
    }

    /// Starts a NATS server in a machine's network.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn nats(&self, machine: &Machine, options: &NatsOptions) -> Result<NatsServer> {
        Ok(NatsServer::start(
            &self.ready()?.nats_server,
            machine.network(),
            options,
        )?)
    }

    /// The layer with the suite and the services that misbehave.
    ///
    /// # Errors
    /// When it does not build.
    pub fn stage(&self) -> Result<&'static Stage> {
        static STAGE: OnceLock<Result<Stage, String>> = OnceLock::new();
        let stage =
            STAGE.get_or_init(|| Stage::build(Profile::Dev, Contents::SuiteAndFixtures).map_err(told));
        stage.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A Python with serverish.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn python(&self) -> Result<Python> {
        self.ready()?;
        Ok(Prerequisites::new(Consent::Absent, tell).python()?)
    }

    /// The machine that the shared cases use: the installed suite of `config/services.yaml`.
    pub(crate) fn shared(&self) -> Result<Arc<Site>> {
        let shared = self.shared.get_or_init(|| {
            self.shared_site()
                .map(Arc::new)
                .map_err(|error| format!("{error:#}"))
        });
        shared
            .clone()
            .map_err(|error| anyhow!("the shared machine: {error}"))
    }

    /// The machine of a group.
    pub(crate) fn group(&self, group: &Group) -> Result<Arc<Site>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(groups.entry(group.name).or_default());
        drop(groups);
        let boot = || {
            let site = self.site(SiteConfig::with_services(group.services))?;
            site.install()?;
            (group.prepare)(&site)?;
            Ok(Arc::new(site))
        };
        let site = cell.get_or_init(|| boot().map_err(|error: anyhow::Error| format!("{error:#}")));
        site.clone()
            .map_err(|error| anyhow!("the machine of the group {}: {error}", group.name))
    }

    fn shared_site(&self) -> Result<Site> {
        let path = workspace_root().join("config/services.yaml");
        let services =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let site = self.site(SiteConfig::with_services(&services))?;
        site.install()?;
        Ok(site)
    }

    /// The seconds that all boots took together.
    pub(crate) fn booting(&self) -> Duration {
        *self.booting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Result<&Ready> {
        let ready = self.ready.get_or_init(|| {
            let prerequisites = Prerequisites::new(Consent::Absent, tell);
            prerequisites.for_machines().map_err(told)?;
            check_can_boot().map_err(|missing| told(TestkitError::CannotBoot(missing)))?;
            let nats_server = prerequisites.nats_server().map_err(told)?;
            Ok(Ready { nats_server })
        });
        ready.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

/// An error with its sources, for a place that keeps it as text.
fn told(error: TestkitError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

#[expect(
    clippy::print_stderr,
    reason = "what is being fetched is told where the test results are"
)]
fn tell(line: &str) {
    eprintln!("{line}");
}
