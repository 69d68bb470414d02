//! `firstboot retry`.

use crate::contract::volumes::Source;
use crate::stage::boot::{join, load, local};
use crate::stage::journal::Loaded;
use crate::stage::recorded;
use crate::stage::seed::read_seed;
use crate::system::root::Root;

const UNIT: &str = "firstboot-join.service";
/// Does nothing where no key is due.
const RSA_KEY: &str = "firstboot-rsa-key.service";
/// Goes on with the second stage now: after a reason that ended it, or in the middle of a pause.
/// A seed that has changed meanwhile is taken up first. The answer is one line for a human, or
/// why it cannot be done.
pub fn retry(root: &Root, source: &Source) -> Result<String, String> {
    let loaded = load(root)?;
    let Loaded::Found(journal) = &loaded else {
        return Err(
            "this machine was never configured from a seed: there is nothing to try \
                    again. Attach its seed disk and boot"
                .to_owned(),
        );
    };
    let seed = read_seed(root, source, &loaded)?;
    let is_new = seed
        .as_ref()
        .is_some_and(|seed| seed.meta_data.instance_id != journal.instance);
    if !is_new && journal.is_finished() && recorded::lost(root, journal, seed.as_ref()).is_none() {
        return Ok(format!(
            "{} is configured: nothing is left to do",
            journal.name
        ));
    }
    if seed.is_none() {
        return Err("the seed disk is gone, and the join needs it".to_owned());
    }
    if root.is_live() {
        systemctl(root, &["stop", UNIT])?;
    }
    if (is_new || !journal.local.finished) && !local(root, source) {
        if root.is_live() {
            // It only says so.
            systemctl(root, &["start", "--no-block", UNIT])?;
        }
        return Err("the first stage failed; see: firstboot status".to_owned());
    }
    match source {
        Source::Disk if root.is_live() => {
            systemctl(root, &["reset-failed", UNIT])?;
            systemctl(root, &["start", "--no-block", UNIT, RSA_KEY])?;
            Ok("trying again; follow it with: firstboot status --wait".to_owned())
        }
        // The unit reads the disk only.
        _ => match join(root, source) {
            true => Ok("done".to_owned()),
            false => Err("it failed again; see: firstboot status".to_owned()),
        },
    }
}

fn systemctl(root: &Root, words: &[&str]) -> Result<(), String> {
    let done = root.query("systemctl", words);
    done.map(|_| ()).map_err(|error| format!("{error:#}"))
}
