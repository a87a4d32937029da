// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command in, its outcome out: the one place that changes the catalog and publishes.
//!
//! The [`Director`] owns the services and reads the counters. What only a running appliance can do
//! is behind [`Plane`]. A command is carried out whole or refused whole.

mod available;
pub(crate) mod convert;

use lb::catalog::{Catalog, Change, Refusal};
use lb::counters::Figures;
use lb::ids::Tick;
use lb::knobs::{Knob, Knobs};
use lb::service::{ForwardMode, ServerOptions, ServiceKey};
use lb::tcp_state::{State, Timeouts};

use crate::command::{Columns, Command, Format, ServerSpec, ServiceSpec, Subject, VirtualService};
use crate::daemons::Daemons;
use crate::drops::{self, History, Loss};
use crate::reply::{
    self, KERNEL_REFUSED, NO_SUCH_SERVICE, Reply, SERVICE_NOT_DEFINED, Unavailable,
};
use crate::rules::{Rule, RulesError};
use crate::sysctl::{self, Request, Setting};
use crate::{help, listing};
use convert::{server_key, server_options, service_key, service_options};

const NO_SUCH_CAUSE: &str = "no such reason; --drops lists those of which there are frames";

/// What only the running appliance can do.
pub trait Plane {
    /// Lets the workers see the catalog as it is now.
    fn publish(&mut self, catalog: &Catalog, pace: Pace);

    /// Says, with the remedy, why FULLNAT local ports would collide with the host's own; none if
    /// they do not.
    fn local_ports_conflict(&self) -> Option<String>;

    /// What was lost before a worker had it, or after.
    fn losses(&self) -> Vec<Loss> {
        Vec::new()
    }

    /// The names of the NICs, by their numbers.
    fn nic_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The MTU of a host's interface in bytes; none if there is no such interface.
    fn interface_mtu(&self, interface: &str) -> Option<u16> {
        let _ = interface;
        None
    }

    /// Says, with the remedy, why NAT servers cannot be served; none if they can.
    fn nat_conflict(&self) -> Option<&'static str> {
        None
    }
}

/// How soon the workers must see a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Before the command is answered.
    Now,
    /// Soon; other changes may come first and go together with it.
    Soon,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer.
    Reply(Reply),
    /// The connections are to be listed: [`listing::connections_heading`], then
    /// [`listing::put_connection`] for each, then [`Reply::done`].
    Connections(Format),
}

/// The services, the counters, and what carries changes to the workers.
#[derive(Debug)]
pub struct Director<P> {
    catalog: Catalog,
    figures: Figures,
    plane: P,
    history: History,
    daemons: Daemons,
}

impl<P: Plane> Director<P> {
    /// Joins the three.
    pub fn new(catalog: Catalog, figures: Figures, plane: P) -> Self {
        Self { catalog, figures, plane, history: History::default(), daemons: Daemons::default() }
    }

    /// The services.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The counters.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What carries changes to the workers.
    pub fn plane(&mut self) -> &mut P {
        &mut self.plane
    }

    /// Carries out one command; the workers have seen a change when this returns.
    pub fn execute(&mut self, command: &Command) -> Outcome {
        match command {
            Command::List(Subject::Connections, format) => Outcome::Connections(*format),
            _ if command.is_query() => Outcome::Reply(self.answer(command)),
            _ => Outcome::Reply(self.change(command, Pace::Now)),
        }
    }

    /// Carries out a command that changes something.
    pub fn change(&mut self, command: &Command, pace: Pace) -> Reply {
        let changed = match command {
            Command::AddService(service, spec) => self.add_service(*service, spec),
            Command::EditService(service, spec) => self
                .existing(*service, NO_SUCH_SERVICE)
                .and_then(|key| Ok(Change::EditService(key, service_options(key.family(), spec)?))),
            Command::DeleteService(service) => {
                self.existing(*service, NO_SUCH_SERVICE).map(Change::DeleteService)
            }
            Command::Clear => Ok(Change::Clear),
            Command::AddServer(service, server, spec) => self
                .server_change(*service, spec)
                .map(|(key, options)| Change::AddServer(key, server_key(*server), options)),
            Command::EditServer(service, server, spec) => self
                .server_change(*service, spec)
                .map(|(key, options)| Change::EditServer(key, server_key(*server), options)),
            Command::DeleteServer(service, server) => self
                .existing(*service, SERVICE_NOT_DEFINED)
                .map(|key| Change::DeleteServer(key, server_key(*server))),
            Command::AddLocal(service, address) => self
                .existing(*service, SERVICE_NOT_DEFINED)
                .and_then(|key| self.local_ports_are_free().map(|()| key))
                .map(|key| Change::AddLocal(key, *address)),
            Command::DeleteLocal(service, address) => self
                .existing(*service, SERVICE_NOT_DEFINED)
                .map(|key| Change::DeleteLocal(key, *address)),
            Command::SetTimeouts { tcp, tcp_fin, udp } => {
                Ok(self.set_timeouts([*tcp, *tcp_fin, *udp]))
            }
            Command::Sysctl(Request::Set(knob, value)) => {
                return self.set_knob(*knob, *value, pace);
            }
            Command::Zero(service) => return self.zero(*service),
            Command::StartDaemon(spec) => {
                return self.daemons.start(spec, self.plane.interface_mtu(&spec.interface));
            }
            Command::StopDaemon { role, .. } => return self.daemons.stop(*role),
            _ => return crate::parse::ParseError::TryHelp.into(),
        };
        changed.map_or_else(|reply| reply, |change| self.apply(change, pace))
    }

    /// Loads the rules that the appliance starts with into an empty catalog: all, or none.
    ///
    /// # Errors
    /// The first rule that is refused, with its line.
    pub fn load(&mut self, rules: &[Rule]) -> Result<(), RulesError> {
        for rule in rules {
            let reply = self.change(&rule.command, Pace::Soon);
            if reply.status != 0 {
                self.apply(Change::Clear, Pace::Now);
                let reason = reply.errors.join(" ");
                return Err(RulesError::Refused { line: rule.line, reason });
            }
        }
        self.plane.publish(&self.catalog, Pace::Now);
        Ok(())
    }

    /// Does something with what carries changes that needs the services or the counters.
    pub fn with_plane<T>(&mut self, act: impl FnOnce(&mut P, &Catalog, &Figures) -> T) -> T {
        act(&mut self.plane, &self.catalog, &self.figures)
    }

    /// Lets the workers see what changed beside the services.
    pub fn republish(&mut self, pace: Pace) {
        self.plane.publish(&self.catalog, pace);
    }

    /// Sets the timeouts of all states, as a configuration read again says.
    pub fn set_all_timeouts(&mut self, timeouts: Timeouts) -> Reply {
        self.apply(Change::SetTimeouts(timeouts), Pace::Now)
    }

    /// Sets all settings, as a configuration read again says.
    pub fn set_all_knobs(&mut self, knobs: Knobs) -> Reply {
        self.apply(Change::SetKnobs(knobs), Pace::Now)
    }

    /// Frees the places of removed servers that no connection needs any more, and notes which
    /// losses grew; to be called every few seconds.
    pub fn sweep(&mut self, now: Tick) {
        self.catalog.sweep(self.figures.counts(), now);
        let losses = self.losses();
        self.history.note(&losses, now);
    }

    fn answer(&self, command: &Command) -> Reply {
        let catalog = &self.catalog;
        let body = match command {
            Command::ListLocals(Some(service)) => match self.find(*service) {
                Some(key) => listing::locals(catalog.service(&key).into_iter()),
                None => return Reply::error(KERNEL_REFUSED, NO_SUCH_SERVICE),
            },
            Command::ListLocals(None) => listing::locals(catalog.services()),
            Command::Save { .. } => listing::rules(catalog),
            Command::Sysctl(Request::Show(setting)) => sysctl::line(*setting, catalog.knobs()),
            Command::Sysctl(_) => sysctl::listing(catalog.knobs()),
            Command::Drops(None) => {
                drops::listing(&self.losses(), &self.history, &self.plane.nic_names())
            }
            Command::Drops(Some(cause)) => {
                let (losses, nics) = (self.losses(), self.plane.nic_names());
                match drops::detail(cause, &losses, &self.history, &self.figures, &nics) {
                    Some(detail) => detail,
                    None => return Reply::error(KERNEL_REFUSED, NO_SUCH_CAUSE),
                }
            }
            Command::List(subject, format) => return self.list(*subject, *format),
            _ => help::answer(command).unwrap_or_default(),
        };
        Reply::body(body)
    }

    fn losses(&self) -> Vec<Loss> {
        let dropped = drops::by_workers(&self.figures);
        dropped.into_iter().chain(self.plane.losses()).collect()
    }

    fn list(&self, subject: Subject, format: Format) -> Reply {
        if format.columns == Columns::Rate {
            return Unavailable::Rate.into();
        }
        match subject {
            Subject::All => Reply::body(listing::services(&self.catalog, &self.figures, format)),
            Subject::Service(service) => {
                let found = self.find(service).and_then(|key| self.catalog.service(&key));
                found.map_or_else(
                    || Reply::error(1, NO_SUCH_SERVICE),
                    |service| Reply::body(listing::service(service, &self.figures, format)),
                )
            }
            Subject::Timeouts => Reply::body(listing::timeouts(self.catalog.timeouts())),
            Subject::Daemons => Reply::body(self.daemons.listing()),
            Subject::Connections => Reply::done(),
        }
    }

    fn apply(&mut self, change: Change, pace: Pace) -> Reply {
        if let Some(unavailable) = available::missing(&change) {
            return unavailable.into();
        }
        let mut applied = self.catalog.apply(change.clone());
        if let Err(Refusal::TooManyServers(_)) = applied {
            // Removed servers without connections keep their places for a while, unless these are
            // needed. The workers must know of the removals first.
            self.plane.publish(&self.catalog, Pace::Now);
            self.catalog.reclaim(self.figures.counts());
            applied = self.catalog.apply(change);
        }
        match applied {
            Ok(applied) => {
                if let Some(service) = applied.service {
                    self.figures.zero_service(service);
                }
                if let Some(server) = applied.server {
                    self.figures.zero_server(server);
                }
                if let Some((server, thresholds)) = applied.thresholds {
                    self.figures.counts().set_thresholds(server.slot, thresholds);
                }
                self.plane.publish(&self.catalog, pace);
                Reply::done()
            }
            Err(refusal) => reply::refused(&refusal, NO_SUCH_SERVICE),
        }
    }

    fn add_service(&self, service: VirtualService, spec: &ServiceSpec) -> Result<Change, Reply> {
        let key = service_key(service)?;
        if self.catalog.service(&key).is_some() {
            return Err(reply::refused(&Refusal::ServiceExists(key), NO_SUCH_SERVICE));
        }
        Ok(Change::AddService(key, service_options(key.family(), spec)?))
    }

    /// The service of a server to be added or edited, and the options that it is to have.
    fn server_change(
        &self,
        service: VirtualService,
        spec: &ServerSpec,
    ) -> Result<(ServiceKey, ServerOptions), Reply> {
        let key = self.existing(service, SERVICE_NOT_DEFINED)?;
        let options = server_options(spec);
        let nat = options.mode == ForwardMode::Masquerade;
        match self.plane.nat_conflict().filter(|_| nat) {
            Some(conflict) => Err(Reply::error(KERNEL_REFUSED, conflict)),
            None => Ok((key, options)),
        }
    }

    fn set_knob(&mut self, knob: Knob, value: u32, pace: Pace) -> Reply {
        let mut knobs = *self.catalog.knobs();
        knobs.set(knob, value);
        let reply = self.apply(Change::SetKnobs(knobs), pace);
        Reply { body: sysctl::line(Setting::Knob(knob), &knobs), ..reply }
    }

    fn set_timeouts(&self, seconds: [u32; 3]) -> Change {
        let mut timeouts = *self.catalog.timeouts();
        let states = [State::Established, State::FinWait, State::Udp];
        for (state, seconds) in states.into_iter().zip(seconds) {
            if seconds != 0 {
                timeouts.set(state, seconds);
            }
        }
        Change::SetTimeouts(timeouts)
    }

    fn zero(&mut self, service: Option<VirtualService>) -> Reply {
        let Self { catalog, figures, .. } = self;
        let key = service.map(service_key);
        let wanted = |of: ServiceKey| key.is_none() || key == Some(Ok(of));
        let mut found = service.is_none();
        for service in catalog.services().filter(|service| wanted(service.key)) {
            found = true;
            figures.zero_service(service.id);
            for server in &service.servers {
                figures.zero_server(server.id);
            }
        }
        if found { Reply::done() } else { Reply::error(KERNEL_REFUSED, NO_SUCH_SERVICE) }
    }

    fn local_ports_are_free(&self) -> Result<(), Reply> {
        match self.plane.local_ports_conflict() {
            Some(conflict) => Err(Reply::error(KERNEL_REFUSED, &conflict)),
            None => Ok(()),
        }
    }

    fn find(&self, service: VirtualService) -> Option<ServiceKey> {
        service_key(service).ok().filter(|key| self.catalog.service(key).is_some())
    }

    fn existing(&self, service: VirtualService, missing: &str) -> Result<ServiceKey, Reply> {
        self.find(service).ok_or_else(|| Reply::error(KERNEL_REFUSED, missing))
    }
}
