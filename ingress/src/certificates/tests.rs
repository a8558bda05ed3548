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
    assert_eq!(covered(&certificates, None).unwrap(), ["fallback.example"]);
    assert_eq!(certificates.count(), 4);
}

#[test]
fn a_pair_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &["a.example"]);
    write(folder.path(), "two", &["b.example"]);
    fs::copy(folder.path().join("one.key"), folder.path().join("two.key")).unwrap();
    let error = Certificates::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("two.crt"), "{error}");
    fs::remove_file(folder.path().join("two.key")).unwrap();
    let error = Certificates::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("two.key"), "{error}");
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
        fs::write(folder.path().join("three.crt"), "no certificate").unwrap();
        tokio::time::sleep(LOOK * 2).await;
        assert!(covered(&certificates, Some("b.example")).is_some());
        cancel.cancel();
    };
    tokio::join!(follow, change);
}
