//! Who may come in: a browser on this machine, or whoever has the token.

/// The rule for requests.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// What a request has to show; `None` admits everybody who reaches this machine's own address by its own name.
    token: Option<String>,
}

impl Door {
    /// Without a token, for an address of this machine alone.
    pub fn loopback() -> Self {
        Self { token: None }
    }

    /// For whoever has the token.
    pub fn with_token(token: String) -> Self {
        Self { token: Some(token) }
    }

    /// The token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether `shown` is the token. Takes as long for a wrong one as for the right one.
    pub fn opens(&self, shown: Option<&str>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = shown.unwrap_or_default().as_bytes();
        let differs = token.bytes().enumerate().fold(shown.len() ^ token.len(), |differs, (at, byte)| {
            differs | usize::from(byte ^ shown.get(at).copied().unwrap_or_default())
        });
        differs == 0
    }

    /// Whether a request that names this host (`Host`, with its port) and comes from a page of this origin may be answered.
    ///
    /// Without a token the name must be one of this machine's own: a page of another site can make a name of its own point here and would
    /// then be of the same origin. A request that a page of another site sends is refused in any case.
    pub fn admits(&self, host: Option<&str>, origin: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
        let own = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let same_site = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host));
        same_site && (own || self.token.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_and_nothing_else_does() {
        let door = Door::with_token("secret".into());
        assert!(door.opens(Some("secret")));
        for wrong in [None, Some(""), Some("secre"), Some("secrets"), Some("Secret")] {
            assert!(!door.opens(wrong), "{wrong:?}");
        }
        assert!(Door::loopback().opens(None));
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let open = Door::loopback();
        for (host, origin, admitted) in [
            (Some("127.0.0.1:8080"), None, true),
            (Some("localhost:8080"), Some("http://localhost:8080"), true),
            (Some("[::1]:8080"), None, true),
            (Some("example.org:8080"), None, false),
            (Some("localhost:8080"), Some("http://example.org"), false),
            (Some("localhost:8080"), Some("null"), false),
            (None, None, false),
        ] {
            assert_eq!(open.admits(host, origin), admitted, "{host:?} {origin:?}");
        }
        let door = Door::with_token("secret".into());
        assert!(door.admits(Some("gpu7.example.org:8080"), Some("http://gpu7.example.org:8080")));
        assert!(!door.admits(Some("gpu7.example.org:8080"), Some("http://example.org")));
    }
}
