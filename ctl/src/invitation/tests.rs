use windlass_testkit::keys::Keys;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SERVER: &str = "deploy.example.com:7443";

fn document() -> TrustDocument {
    TrustDocument {
        ca: vec![Digest::of(b"old ca"), Digest::of(b"ca")],
        coordinators: vec![SERVER.to_owned(), "second.example.com:7443".to_owned()],
        ..Keys::generate().document(NOW)
    }
}

fn pins(trust: &TrustDocument) -> Pins<'_> {
    Pins { trust, first: Digest::of(b"first"), server: SERVER }
}

fn wanted() -> Wanted<HostId> {
    let labels = Some([("role".to_owned(), "app".to_owned())].into());
    Wanted { name: "web-1".parse().unwrap(), terms: Terms { labels, ..Terms::default() } }
}

fn made(fleet: &str, name: &str, ca: &[u8], first: &[u8], terms: Terms) -> String {
    let bare = Token::<HostId>::new(
        fleet.parse().unwrap(),
        name.parse().unwrap(),
        Digest::of(ca),
        Digest::of(first),
    );
    let bare = bare.unwrap();
    let (fleet, name, ca, first) =
        (bare.fleet().clone(), bare.member().clone(), bare.ca_pin(), bare.trust_pin());
    bare.under(fleet, name, ca, first, terms).to_string()
}

fn checked(answer: &str) -> Result<Token<HostId>, Mismatch> {
    let trust = document();
    token(answer, NOW + HOST_LIFETIME, wanted(), &pins(&trust), NOW)
}

#[test]
fn an_honest_answer_becomes_a_token_of_our_own() {
    let answer = made("demo", "web-1", b"ca", b"first", Terms::default());
    let token = checked(&answer).unwrap();
    let secret = Token::<HostId>::parse(&answer).unwrap().secret().hash();
    assert_eq!(token.secret().hash(), secret, "the secret is the coordinator's");
    let want =
        Terms { server: Some(SERVER.to_owned()), expires_at: Some(NOW + HOST_LIFETIME), ..wanted().terms };
    assert_eq!(token.terms(), &want, "what was asked for is in the token, which the answer lacked");
    assert_eq!((token.ca_pin(), token.trust_pin()), (Digest::of(b"ca"), Digest::of(b"first")));
}

#[test]
fn whatever_differs_from_home_or_wish_is_refused() {
    let none = Terms::default;
    let other = |terms: Terms| made("demo", "web-1", b"ca", b"first", terms);
    let server = |server: &str| other(Terms { server: Some(server.to_owned()), ..none() });
    let labels = Some([("role".to_owned(), "vault".to_owned())].into());
    let late = Some(NOW + HOST_LIFETIME + SKEW + Duration::from_secs(1));
    #[rustfmt::skip]
    let table = [
        ("fleet", made("prod", "web-1", b"ca", b"first", none()), "it is for fleet `prod`"),
        ("name", made("demo", "web-2", b"ca", b"first", none()), "it is for host `web-2`"),
        ("CA", made("demo", "web-1", b"theirs", b"first", none()), "which the trust document does not"),
        ("trust", made("demo", "web-1", b"ca", b"theirs", none()), "as the first trust document"),
        ("life", other(Terms { expires_at: late, ..none() }), "it is good until"),
        ("labels", other(Terms { labels, ..none() }), "it gives the host the labels"),
        ("address", server("evil.example.com:7443"), "it sends them to"),
        ("address of a shell", server("$(id):7443"), "it is not a token"),
        ("control", format!("{}\u{1b}[2J", other(none())), "it is not a token"),
        ("a line more", format!("{}\n", other(none())), "it is not a token"),
        ("two", format!("{} {}", other(none()), other(none())), "it is not a token"),
        ("nothing", String::new(), "it is not a token"),
        ("endless", "windlass1.".repeat(10_000), "it is not a token"),
    ];
    for (what, answer, want) in table {
        let error = checked(&answer).expect_err(what);
        assert!(error.to_string().contains(want), "{what}: {error}");
    }
    assert!(checked(&server("second.example.com:7443")).is_ok(), "the trust document names it");
    let trust = document();
    let answer = other(none());
    let far = NOW + Duration::from_secs(3600);
    let late = token(&answer, far, wanted(), &pins(&trust), NOW).unwrap_err();
    assert!(matches!(late, Mismatch::Life { .. }), "{late}");
}

#[test]
fn an_operator_is_promised_the_grant_that_was_asked_for() {
    let (trust, bob) = (document(), "bob".parse::<OperatorName>().unwrap());
    let grant = |text: &str| Terms { grant: Some(text.parse().unwrap()), ..Terms::default() };
    let bare = || {
        let (ca, first) = (Digest::of(b"ca"), Digest::of(b"first"));
        Token::<OperatorName>::new(trust.fleet.clone(), bob.clone(), ca, first).unwrap()
    };
    let ask = |answer: &Token<OperatorName>| {
        let wanted = Wanted { name: bob.clone(), terms: grant("deployer/staging") };
        token(&answer.to_string(), NOW + OPERATOR_LIFETIME, wanted, &pins(&trust), NOW)
    };
    assert_eq!(ask(&bare()).unwrap().terms().grant, grant("deployer/staging").grant);
    let raised = bare().under(
        trust.fleet.clone(),
        bob.clone(),
        Digest::of(b"ca"),
        Digest::of(b"first"),
        grant("admin/*"),
    );
    let error = ask(&raised).unwrap_err();
    assert_eq!(error.to_string(), "it makes them admin/*, deployer/staging was asked for");
}

#[test]
fn others_are_sent_where_the_trust_document_says() {
    let trust = document();
    let at = |server| address(&Pins { trust: &trust, first: Digest::of(b"first"), server });
    assert_eq!(at("second.example.com:7443"), "second.example.com:7443");
    assert_eq!(at("127.0.0.1:9999"), SERVER, "a tunnel of this operator leads nobody else there");
}
