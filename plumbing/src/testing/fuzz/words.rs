//! What is read from text: addresses, and keys of files.

use crate::transport::{Address, Key};
use std::path::Path;
use url::Url;

/// What a person types for a place. What is shown reads back, and shows no password; what is
/// revealed reads back as the same place.
pub fn address(data: &[u8]) -> bool {
    let Some(address) = std::str::from_utf8(data).ok().and_then(|text| Address::parse(text).ok()) else {
        return false;
    };
    let shown = address.to_string();
    match &address {
        Address::Http(url) => {
            let public = Url::parse(&shown).expect("what is shown is a URL");
            assert!(public.username().is_empty() && public.password().is_none(), "credentials are shown");
            assert_eq!(public.host(), url.reveal().host());
            assert_eq!(Address::parse(&address.reveal()).ok(), Some(address));
        }
        // A path that a URL named may look like another kind of address when it stands alone.
        Address::Path(_) | Address::Bundle(_) => {}
        Address::Iroh(_) => assert_eq!(Address::parse(&shown).ok(), Some(address)),
    }
    true
}

/// The key of a file in a bare repository: below its folder wherever it is appended.
pub fn file_key(data: &[u8]) -> bool {
    let Some(key) = std::str::from_utf8(data).ok().and_then(|text| Key::new(text).ok()) else {
        return false;
    };
    assert!(key.as_str().as_bytes() == data && key.to_string().as_bytes() == data);
    let parts = Path::new(key.as_str()).components();
    assert!(parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_))));
    assert!(key.as_str().split('/').all(|part| !part.starts_with('.')));
    true
}
