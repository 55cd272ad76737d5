//! `docs/settings.md` says what the tables say.

use moldau_core::config::settings_document;

#[test]
fn the_page_of_settings_is_up_to_date() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let path = format!("{folder}/../docs/settings.md");
    let written = settings_document();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == written,
        "docs/settings.md differs from the tables; run: UPDATE_EXPECT=1 cargo test -p moldau-broker settings_document"
    );
}
