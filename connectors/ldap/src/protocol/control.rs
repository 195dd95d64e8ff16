//! Controls: what is asked of a server beyond the operation, and what it adds to an answer.

use super::ber::{BOOLEAN, INTEGER, Malformed, OCTETS, Reader, SEQUENCE, Writer};

/// A control as it travels (RFC 4511, section 4.1.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) oid: String,
    pub(crate) critical: bool,
    pub(crate) value: Option<Vec<u8>>,
}

/// Simple paged results (RFC 2696).
pub(crate) const PAGED: &str = "1.2.840.113556.1.4.319";
/// Post-read (RFC 4527).
pub(crate) const POST_READ: &str = "1.3.6.1.1.13.2";
/// Active Directory's permissive modify: a value that is there already may be added, an absent one removed.
pub(crate) const PERMISSIVE: &str = "1.2.840.113556.1.4.1413";
/// Active Directory's changes since a cookie (MS-ADTS 3.1.1.3.4.1.3).
pub(crate) const DIRSYNC: &str = "1.2.840.113556.1.4.841";
/// Shows Active Directory's deleted entries as well (MS-ADTS 3.1.1.3.4.1.14).
pub(crate) const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// Deletes an entry with all below it (draft-armijo-ldap-treedelete; Active Directory, OpenLDAP's does not have it).
pub(crate) const TREE_DELETE: &str = "1.2.840.113556.1.4.805";
/// Password policy (draft-behera-ldap-password-policy).
pub(crate) const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";

impl Control {
    pub(crate) fn plain(oid: &str, critical: bool) -> Self {
        Self { oid: oid.to_owned(), critical, value: None }
    }

    fn with(oid: &str, critical: bool, value: Writer) -> Self {
        Self { oid: oid.to_owned(), critical, value: Some(value.into_bytes()) }
    }

    /// A page of at most `size` entries, after what `cookie` stands for.
    pub(crate) fn page(size: i64, cookie: &[u8]) -> Self {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, |inner| {
            inner.integer(INTEGER, size);
            inner.octets(OCTETS, cookie);
        });
        Self::with(PAGED, true, writer)
    }

    /// Whatever changed since what a cookie stands for; everything for an empty one. Only what the user may see anyway is
    /// asked for (LDAP_DIRSYNC_OBJECT_SECURITY), so that no right to replicate is needed.
    pub(crate) fn dir_sync(cookie: &[u8]) -> Self {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, |inner| {
            inner.integer(INTEGER, 1);
            inner.integer(INTEGER, i64::from(i32::MAX));
            inner.octets(OCTETS, cookie);
        });
        Self::with(DIRSYNC, true, writer)
    }

    /// The entry as it is after the operation, with these attributes.
    pub(crate) fn post_read(attributes: &[&str]) -> Self {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, |inner| attributes.iter().for_each(|name| inner.octets(OCTETS, name.as_bytes())));
        Self::with(POST_READ, false, writer)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.nested(SEQUENCE, |inner| {
            inner.octets(OCTETS, self.oid.as_bytes());
            if self.critical {
                inner.boolean(BOOLEAN, true);
            }
            if let Some(value) = &self.value {
                inner.octets(OCTETS, value);
            }
        });
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut inner = reader.within(SEQUENCE)?;
        let oid = inner.text(OCTETS)?;
        let critical = inner.optional(BOOLEAN)?.is_some_and(|byte| byte != [0]);
        let value = inner.optional(OCTETS)?.map(<[u8]>::to_vec);
        Ok(Self { oid, critical, value })
    }
}

/// The cookie for the next page; none where there was no answer to the control, empty after the last page.
pub(crate) fn next_page(controls: &[Control]) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(value) = controls.iter().find(|one| one.oid == PAGED).and_then(|one| one.value.as_ref()) else {
        return Ok(None);
    };
    let mut inner = Reader::new(value).within(SEQUENCE)?;
    inner.integer(INTEGER)?;
    Ok(Some(inner.expect(OCTETS)?.to_vec()))
}

/// Whether there is more, and the cookie to go on with, where the DirSync control was answered.
pub(crate) fn synchronised(controls: &[Control]) -> Result<Option<(bool, Vec<u8>)>, Malformed> {
    let Some(value) = controls.iter().find(|one| one.oid == DIRSYNC).and_then(|one| one.value.as_ref()) else {
        return Ok(None);
    };
    let mut inner = Reader::new(value).within(SEQUENCE)?;
    let more = inner.integer(INTEGER)? != 0;
    inner.integer(INTEGER)?;
    Ok(Some((more, inner.expect(OCTETS)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_of_a_page_is_read_back() {
        let control = Control::page(1_000, b"\x01\xff");
        assert_eq!(next_page(std::slice::from_ref(&control)), Ok(Some(b"\x01\xff".to_vec())));
        let mut writer = Writer::default();
        control.write(&mut writer);
        assert_eq!(Control::read(&mut Reader::new(&writer.into_bytes())), Ok(control));
        assert_eq!(next_page(&[]), Ok(None));
        let broken = Control { value: Some(vec![0x30, 1]), ..Control::plain(PAGED, false) };
        assert!(next_page(&[broken]).is_err());
    }
}
