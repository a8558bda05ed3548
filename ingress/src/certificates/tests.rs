use rcgen::{CertificateParams, KeyPair};

use super::*;

/// Writes a certificate for these names with its key.
pub(crate) fn write(folder: &Path, file: &str, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join(format!("{file}.crt")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

fn covered(certificates: &Certificates, host: Option<&str>) -> Option<Vec<String>> {
    Some(certificates.names_for(host)?.all().map(str::to_owned).collect())
}

#[test]
fn a_certificate_is_chosen_by_its_names_not_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "first", &["A.example", "b.example"]);
    write(folder.path(), "second", &["*.c.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    assert_eq!(covered(&certificates, Some("a.example")).unwrap(), ["a.example", "b.example"]);
    assert_eq!(covered(&certificates, Some("X.c.example")).unwrap(), ["*.c.example"]);
    for unknown in [Some("c.example"), Some("x.y.c.example"), Some("other"), None] {
        assert_eq!(covered(&certificates, unknown), None, "{unknown:?}");
    }
    write(folder.path(), "default", &["fallback.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    assert_eq!(covered(&certificates, None), None);
    let store = certificates.current.load();
    let default = store.find(Some("other")).expect("the default one");
    assert_eq!(default.names.all().collect::<Vec<_>>(), ["fallback.example"]);
    assert_eq!(certificates.count(), 4);
}

#[test]
fn a_pair_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &["a.example"]);
    write(folder.path(), "two", &["b.example"]);
    let keys = ["one.key", "two.key"].map(|name| folder.path().join(name));
    let whole = fs::read(&keys[0]).unwrap();
    fs::copy(&keys[0], &keys[1]).unwrap();
    let certificates = Certificates::open(folder.path()).unwrap();
    assert_eq!((certificates.count(), certificates.refused()), (1, 1), "the other pair serves");
    fs::write(&keys[0], "no key").unwrap();
    let error = Certificates::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("one.crt"), "{error}");
    fs::write(&keys[0], whole).unwrap();
    fs::remove_file(folder.path().join("one.crt")).unwrap();
    fs::remove_file(&keys[1]).unwrap();
    let error = Certificates::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("two.key"), "{error}");
}

#[test]
fn the_certificate_that_is_valid_for_longer_serves_a_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a-new", &["a.example", "new.example"]);
    let key = KeyPair::generate().unwrap();
    let mut old = CertificateParams::new(vec!["a.example".to_owned(), "old.example".to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    fs::write(folder.path().join("z-old.crt"), old.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("z-old.key"), key.serialize_pem()).unwrap();
    let certificates = Certificates::open(folder.path()).unwrap();
    assert_eq!(covered(&certificates, Some("a.example")).unwrap(), ["a.example", "new.example"]);
    assert!(covered(&certificates, Some("old.example")).is_some(), "nobody else covers it");
    let expiries = certificates.expiries();
    assert_eq!(expiries[1], ("z-old".to_owned(), 1_577_836_800));
}

#[test]
fn names_cover_one_label_below_a_wildcard() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &["a.example", "*.b.example"]);
    let names = Certificates::open(folder.path()).unwrap().names_for(Some("a.example")).unwrap();
    assert!(names.cover("a.example") && names.cover("x.b.example"));
    assert!(!names.cover("b.example") && !names.cover("x.y.b.example") && !names.cover("c.example"));
}

#[tokio::test(start_paused = true)]
async fn a_changed_folder_is_read_again_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &["a.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let cancel = CancellationToken::new();
    let follow = async {
        certificates.follow(cancel.clone()).await;
    };
    let change = async {
        write(folder.path(), "two", &["b.example"]);
        tokio::time::sleep(LOOK * 2).await;
        assert!(covered(&certificates, Some("b.example")).is_some());
        // Neither an orphan nor a broken pair keeps another one from its renewal.
        fs::write(folder.path().join("three.crt"), "no certificate").unwrap();
        fs::write(folder.path().join("two.key"), "no key").unwrap();
        write(folder.path(), "one", &["a.example", "c.example"]);
        tokio::time::sleep(LOOK * 2).await;
        for host in ["a.example", "b.example", "c.example"] {
            assert!(covered(&certificates, Some(host)).is_some(), "{host}");
        }
        assert_eq!(certificates.refused(), 2);
        cancel.cancel();
    };
    tokio::join!(follow, change);
}
