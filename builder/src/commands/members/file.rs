//! A ticket that was made on a member: `--ticket-file`.

use super::{Granted, Members, Purpose, Sent, Wrong, warn_of_clocks, warn_of_strangers};
use crate::config::lab;
use crate::peer::{self, Failure, Login, MEMBER_LINE};
use crate::system::clock;
use crate::system::ui::Ui;
use anyhow::{Result, anyhow, bail};
use firstboot::contract::seed::Ticket;
use std::path::Path;

impl Members {
    /// A ticket that was made elsewhere. Where a peer answers, it is tried, and renewed by that.
    pub(super) fn of_a_file(&self, file: &Path, ui: &Ui) -> Result<Granted<'_>> {
        let text = lab::read_ticket(file)?;
        let name = file.display();
        let ticket = Ticket::parse(text.reveal()).map_err(|error| {
            anyhow!(
                "the ticket in {name} {error}\n  right: what this prints on a member of {}, as \
                 root:\n    {MEMBER_LINE}",
                self.label
            )
        })?;
        let now = clock::now();
        if ticket.valid_until() <= now {
            bail!(
                "the ticket in {name} has expired (valid until {}; it is {} by this PC's clock)\n  \
                 right: a new one, which this prints on a member of {}, as root:\n    {MEMBER_LINE}",
                clock::minute(ticket.valid_until()),
                clock::minute(now),
                self.label,
            );
        }
        let (first, failures) = self.first()?;
        let Some(first) = first else {
            let silent = |(_, failure): &(&str, Failure)| matches!(failure, Failure::Silent(_));
            if !failures.iter().all(silent) || self.purpose == Purpose::Look {
                return Err(self.nobody(&failures, Sent::Ticket));
            }
            ui.warn(&format!(
                "no peer of {} answers from this PC, so the ticket in {name} was not tried; it is \
                 used as it is",
                self.label
            ));
            warn_of_clocks(ticket.made().saturating_sub(now), ui);
            return Ok(Granted { ticket, peer: None });
        };
        warn_of_strangers(&failures, ui);
        let renewed = self.call(first, Sent::Ticket, ui, |connection, host| {
            peer::log_in(connection, host, ticket.text())
        });
        let peer = match renewed {
            Ok((peer, Login::Ticket { ticket, cluster })) => {
                return self.accept(peer, &ticket, cluster.as_deref(), ui);
            }
            Ok((peer, Login::Half { .. })) | Err(Wrong::Refused(peer)) => peer,
            Err(Wrong::Otherwise(error)) => return Err(error),
            Err(Wrong::Form(words)) => bail!(words),
        };
        bail!(
            "{peer} refuses the ticket in {name}: it is of another cluster, or older than two hours \
             by that cluster's clock\n  right: a new one, which this prints on a member of {}, as \
             root:\n    {MEMBER_LINE}",
            self.label,
        )
    }
}
