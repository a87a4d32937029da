// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command in, its outcome out: the one place that changes the catalog and publishes.
//!
//! The [`Director`] owns the services and reads the counters. What only a running appliance can do
//! is behind [`Plane`]. A command is carried out whole or refused whole.

mod changes;
pub(crate) mod convert;

use lb::catalog::{Catalog, Change, Refusal};
use lb::conn::tcp_state::Timeouts;
use lb::counters::Figures;
use lb::ids::Tick;
use lb::knobs::{Knob, Knobs};
use lb::service::ServiceKey;

use crate::capture;
use crate::command::{Command, ConnFilter, Format, Subject, VirtualService};
use crate::daemons::Daemons;
use crate::drops::{self, History, Loss};
use crate::reply::{self, KERNEL_REFUSED, NO_SUCH_SERVICE, Reply};
use crate::rules::{Rule, RulesError};
use crate::sysctl::{self, Request, Setting};
use crate::{help, listing};
use changes::change_of;
use convert::service_key;

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
    /// The connections that the filter wants are to be listed: [`listing::connections_heading`],
    /// then [`listing::put_connection`] for each, then [`Reply::done`].
    Connections(ConnFilter, Format),
    /// Frames are to be captured: lines of [`capture::put_line`], then the reply's end.
    Capture(capture::Order),
    /// The connections of one service's local addresses or of all are to be counted
    /// ([`crate::locals::LocalConns`]), and what they come to is the answer.
    Locals(Option<ServiceKey>),
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
            Command::List(Subject::Connections(filter), format) => {
                Outcome::Connections(*filter, *format)
            }
            Command::Capture(request) => match request.order(&self.plane.nic_names()) {
                Ok(order) => Outcome::Capture(order),
                Err(error) => Outcome::Reply(Reply::error(KERNEL_REFUSED, &error.to_string())),
            },
            Command::ListLocals(service) => match service.map(|service| self.find(service)) {
                None => Outcome::Locals(None),
                Some(Some(key)) => Outcome::Locals(Some(key)),
                Some(None) => Outcome::Reply(Reply::error(KERNEL_REFUSED, NO_SUCH_SERVICE)),
            },
            _ if command.is_query() => Outcome::Reply(self.answer(command)),
            _ => Outcome::Reply(self.change(command, Pace::Now)),
        }
    }

    /// Carries out a command that changes something.
    pub fn change(&mut self, command: &Command, pace: Pace) -> Reply {
        match command {
            Command::Sysctl(Request::Set(knob, value)) => self.set_knob(*knob, *value, pace),
            Command::Zero(service) => self.zero(*service),
            Command::StartDaemon(spec) => {
                self.daemons.start(spec, self.plane.interface_mtu(&spec.interface))
            }
            Command::StopDaemon { role, .. } => self.daemons.stop(*role),
            _ => match change_of(command, &self.catalog, &self.plane) {
                Ok(change) => self.apply(change, pace),
                Err(reply) => reply,
            },
        }
    }

    /// Carries out changes of services, servers, local addresses and timeouts: all of them, seen
    /// by workers at once, or none.
    ///
    /// # Errors
    /// The place of the first that is refused, and why.
    pub fn change_all(&mut self, commands: &[Command]) -> Result<(), (usize, Reply)> {
        let mut rehearsal = self.catalog.rehearsal();
        for (place, command) in commands.iter().enumerate() {
            let change = change_of(command, &rehearsal, &self.plane);
            let refused = change.and_then(|change| {
                let mut applied = rehearsal.apply(change.clone());
                if let Err(Refusal::TooManyServers(_)) = applied {
                    rehearsal.reclaim(self.figures.counts());
                    applied = rehearsal.apply(change);
                }
                applied.map_err(|refusal| reply::refused(&refusal, NO_SUCH_SERVICE))
            });
            if let Err(reply) = refused {
                return Err((place, reply));
            }
        }
        for (place, command) in commands.iter().enumerate() {
            let reply = self.change(command, Pace::Soon);
            debug_assert_eq!(reply, Reply::done(), "{place}: the rehearsal went well");
        }
        self.plane.publish(&self.catalog, Pace::Now);
        Ok(())
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

    /// Keeps a part of the rates up to date; to be called every [`lb::counters::ESTIMATE_MS`].
    pub fn estimate(&mut self) {
        self.figures.estimate(self.catalog.knobs().is_on(Knob::RunEstimation));
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
            Subject::Connections(_) => Reply::done(),
        }
    }

    fn apply(&mut self, change: Change, pace: Pace) -> Reply {
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
                if let Some((server, service)) = applied.server {
                    self.figures.place(server, service);
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

    fn set_knob(&mut self, knob: Knob, value: u32, pace: Pace) -> Reply {
        let mut knobs = *self.catalog.knobs();
        knobs.set(knob, value);
        let reply = self.apply(Change::SetKnobs(knobs), pace);
        Reply { body: sysctl::line(Setting::Knob(knob), &knobs), ..reply }
    }

    fn zero(&mut self, service: Option<VirtualService>) -> Reply {
        let Self { catalog, figures, .. } = self;
        let key = service.map(service_key);
        let wanted = |of: ServiceKey| key.is_none() || key == Some(of);
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

    fn find(&self, service: VirtualService) -> Option<ServiceKey> {
        Some(service_key(service)).filter(|key| self.catalog.service(key).is_some())
    }
}
