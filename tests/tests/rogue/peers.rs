//! Step 2: whoever is at the other end without being a coordinator of this fleet hears nothing from the agent.

use std::time::Duration;

use windlass_certs::ca::Leaf;
use windlass_certs::identity::{Grant, Identity};
use windlass_tests::rogue::keys::{fleet, host, now};
use windlass_tests::rogue::scene;
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::{Face, Target};

use super::conclude;

const LIMIT: Duration = Duration::from_secs(15);
/// The refusal of each.
pub(super) const CODE: &str = "wrong_peer";
const HOURS: Duration = Duration::from_secs(3600);

/// The shown certificate, by the attack's name.
type Row = (&'static str, fn(&Target) -> Face);

fn operator() -> Leaf {
    let grant: Grant = "admin/*".parse().unwrap();
    Leaf::operator(Identity::operator(fleet(), &"mallory".parse().unwrap()), grant, 1)
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("an agent's certificate", |t| Face::issued(&t.keys.ca, &Leaf::agent(Identity::agent(fleet(), host("h9")), 1), now())),
    ("an admin's certificate", |t| Face::issued(&t.keys.ca, &operator(), now())),
    ("a coordinator of a CA with the same name", |_| Face::coordinator(&Face::other_ca(fleet()), now())),
    ("the same, with the pinned CA behind it", |t| { let ca = Face::other_ca(fleet()); Face::coordinator(&ca, now()).followed_by(&[&ca, &t.keys.ca]) }),
    ("the same, with only the pinned CA behind it", |t| Face::coordinator(&Face::other_ca(fleet()), now()).followed_by(&[&t.keys.ca])),
    ("a coordinator of another fleet", |_| Face::coordinator(&Face::other_ca("other".parse().unwrap()), now())),
    ("no CA behind it", |t| Face::coordinator(&t.keys.ca, now()).followed_by(&[])),
    ("expired yesterday", |t| Face::expired(&t.keys.ca)),
    ("valid from tomorrow", |t| Face::coordinator(&t.keys.ca, now() + 24 * HOURS)),
    ("the CA itself", |t| Face::of_ca(&t.keys.ca, &t.folder.join("ca"))),
];

#[test]
fn whoever_is_no_coordinator_of_this_fleet_hears_nothing() {
    let mut target = Target::start("rogue-peers", "", |_, _, _| {});
    let mut wrong = Vec::new();
    for (name, forge) in ROWS {
        let known = target.audited(CODE);
        let since = scene::moment();
        let (shaken, hellos) = target.rogue.said(|said| (said.handshakes.len(), said.hellos.len()));
        target.rogue.show(forge(&target));
        let refused = within(LIMIT, || {
            target.rogue.said(|said| match said.handshakes.get(shaken) {
                Some(Some(_)) if said.hellos.len() == hellos => Ok(()),
                Some(None) => Err("the handshake was completed".to_owned()),
                Some(Some(_)) => Err("the agent said hello".to_owned()),
                None => Err("nobody came".to_owned()),
            })
        });
        let audited = within(LIMIT, || match target.audited(CODE) {
            count if count > known => Ok(()),
            count => Err(format!("no audit line: there are {count}")),
        });
        target.rogue.show(Face::coordinator(&target.keys.ca, now()));
        let results = [refused, audited, target.honest(), target.untouched(&since)];
        wrong.extend(results.into_iter().filter_map(Result::err).map(|error| format!("{name}: {error}")));
    }
    conclude(ROWS.len(), &wrong);
}
