//! Keys of an app. Several may be valid at once: a new one is added before the old one goes.

use std::{fmt, str::FromStr};

use jsonwebtoken::{DecodingKey, EncodingKey};

/// Shortest shared secret, in bytes: as long as the hash that it keys.
const SECRET_BYTES_MIN: usize = 32;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A shared secret of at least 32 bytes.
    Hs256,
    /// ECDSA on P-256: PEM, the private key to sign with, the public one to verify.
    Es256,
    /// Ed25519: PEM, the private key to sign with, the public one to verify.
    EdDsa,
}

/// A key. `Debug` shows its name only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    algorithm: Algorithm,
    material: Vec<u8>,
}

/// The keys of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

/// A key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its name is empty or longer than 64 characters.
    #[error("must have a name of 1 to 64 characters")]
    Id,
    /// A shared secret that is too short.
    #[error("must be a secret of at least {SECRET_BYTES_MIN} bytes")]
    Short,
    /// Not what its algorithm needs.
    #[error("is no PEM key for {0}")]
    Unusable(Algorithm),
}

// === impl Algorithm ===

impl Algorithm {
    pub(crate) const fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        })
    }
}

impl FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "HS256" => Ok(Self::Hs256),
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            _ => Err("must be one of HS256, ES256, EdDSA"),
        }
    }
}

// === impl Key ===

impl Key {
    /// A key of the bytes of its file; a line break at the end of a secret does not count.
    ///
    /// # Errors
    /// The name or the bytes cannot be used.
    pub fn try_new(id: &str, algorithm: Algorithm, material: &[u8]) -> Result<Self, KeyError> {
        if !(1..=64).contains(&id.chars().count()) {
            return Err(KeyError::Id);
        }
        let material = material.trim_ascii_end().to_vec();
        let key = Self { id: id.to_owned(), algorithm, material };
        match algorithm {
            Algorithm::Hs256 if key.material.len() < SECRET_BYTES_MIN => Err(KeyError::Short),
            Algorithm::Hs256 => Ok(key),
            // One of them is enough: routers verify, operators sign.
            Algorithm::Es256 | Algorithm::EdDsa
                if key.decoding().is_some() || key.encoding().is_some() =>
            {
                Ok(key)
            }
            Algorithm::Es256 | Algorithm::EdDsa => Err(KeyError::Unusable(algorithm)),
        }
    }

    /// Its name, which tokens carry as `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether tokens can be verified with it; a private key alone cannot.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.decoding().is_some()
    }

    pub(crate) fn decoding(&self) -> Option<DecodingKey> {
        match self.algorithm {
            Algorithm::Hs256 => Some(DecodingKey::from_secret(&self.material)),
            Algorithm::Es256 => DecodingKey::from_ec_pem(&self.material).ok(),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(&self.material).ok(),
        }
    }

    pub(crate) fn encoding(&self) -> Option<EncodingKey> {
        match self.algorithm {
            Algorithm::Hs256 => Some(EncodingKey::from_secret(&self.material)),
            Algorithm::Es256 => EncodingKey::from_ec_pem(&self.material).ok(),
            Algorithm::EdDsa => EncodingKey::from_ed_pem(&self.material).ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({}, {})", self.id, self.algorithm)
    }
}

// === impl Keys ===

impl Keys {
    /// Of two with one name the first one counts.
    #[must_use]
    pub const fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// The key of this name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The names of all of them.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Key::id)
    }
}
