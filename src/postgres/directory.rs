//! Loads the contacts that a batch can touch, locked, and writes back what changed.
//!
//! Lock order, the same in every worker: contacts by key, then identifiers by key, then the ledger.

mod provenance;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::{Contact, ContactId, Identifier, Stamped},
    directory::{Changes, Directory},
    email::Email,
    event::CompanyId,
    field::{Field, FieldMap},
    phone::Phone,
};

/// Loads and locks the contacts that own one of `identifiers`.
///
/// A contact that another transaction merges away meanwhile is left out, and its identifiers look
/// unowned; [`save`] then finds them taken, and the caller begins again.
pub async fn load(
    conn: &mut PgConnection,
    identifiers: &[(CompanyId, Identifier)],
) -> Result<Directory, sqlx::Error> {
    let companies: Vec<&str> = identifiers.iter().map(|(company, _)| company.as_str()).collect();
    let kinds: Vec<&str> = identifiers.iter().map(|(_, identifier)| identifier.kind()).collect();
    let values: Vec<&str> = identifiers.iter().map(|(_, identifier)| identifier.value()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT i.kind, i.value, c.company_id, c.contact_id, c.version, c.name, c.identity, c.phone, c.email, c.company,
               c.position, c.birthday, c.zip_code, c.country, c.state, c.city, c.district, c.street, c.number,
               c.complement, c.provenance::text AS "provenance!", c.created_at, c.updated_at
           FROM UNNEST($1::text[], $2::text[], $3::text[]) AS k(company_id, kind, value)
           JOIN contact_identifiers i USING (company_id, kind, value)
           JOIN contacts c ON c.company_id = i.company_id AND c.contact_id = i.contact_id
           ORDER BY c.company_id, c.contact_id
           FOR UPDATE OF c"#,
        &companies as &[&str],
        &kinds as &[&str],
        &values as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut directory = Directory::default();
    for row in rows {
        let (identifier, contact) = row.into_contact()?;
        directory.own(contact.company.clone(), identifier, contact.id);
        directory.add(contact);
    }
    Ok(directory)
}

/// Writes the changes. `false` means that another transaction took one of the new identifiers
/// meanwhile: the caller rolls back and begins again.
pub async fn save(conn: &mut PgConnection, changes: &Changes) -> Result<bool, sqlx::Error> {
    if !changes.contacts.is_empty() {
        write_contacts(conn, &changes.contacts).await?;
    }
    if !changes.identifiers.is_empty() && !claim_identifiers(conn, &changes.identifiers).await? {
        return Ok(false);
    }
    if !changes.merges.is_empty() {
        write_merges(conn, changes).await?;
    }
    Ok(true)
}

async fn write_contacts(conn: &mut PgConnection, contacts: &[Contact]) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = contacts.iter().map(|contact| contact.company.as_str()).collect();
    let ids: Vec<Uuid> = contacts.iter().map(|contact| contact.id.0).collect();
    let versions: Vec<i64> = contacts.iter().map(|contact| contact.version).collect();
    let column = |field: Field| -> Vec<Option<&str>> {
        contacts
            .iter()
            .map(|contact| contact.values.get(field).map(|stamped| stamped.value.as_str()))
            .collect()
    };
    let provenance: Vec<String> =
        contacts.iter().map(|contact| provenance::to_json(&contact.values)).collect();
    let created: Vec<OffsetDateTime> = contacts.iter().map(|contact| contact.created_at).collect();
    let updated: Vec<OffsetDateTime> = contacts.iter().map(|contact| contact.updated_at).collect();
    let written = sqlx::query!(
        "INSERT INTO contacts (company_id, contact_id, version, name, identity, phone, email, company, position,
             birthday, zip_code, country, state, city, district, street, number, complement, provenance,
             created_at, updated_at)
         SELECT company_id, contact_id, version, name, identity, phone, email, company, position, birthday, zip_code,
             country, state, city, district, street, number, complement, provenance::jsonb, created_at, updated_at
         FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
             $17::text[], $18::text[], $19::text[], $20::timestamptz[], $21::timestamptz[])
             AS u(company_id, contact_id, version, name, identity, phone, email, company, position, birthday, zip_code,
                 country, state, city, district, street, number, complement, provenance, created_at, updated_at)
         ON CONFLICT (company_id, contact_id) DO UPDATE SET
             version = excluded.version, name = excluded.name, identity = excluded.identity, phone = excluded.phone,
             email = excluded.email, company = excluded.company, position = excluded.position,
             birthday = excluded.birthday, zip_code = excluded.zip_code, country = excluded.country,
             state = excluded.state, city = excluded.city, district = excluded.district, street = excluded.street,
             number = excluded.number, complement = excluded.complement, provenance = excluded.provenance,
             created_at = excluded.created_at, updated_at = excluded.updated_at",
        &companies as &[&str],
        &ids,
        &versions,
        &column(Field::Name) as &[Option<&str>],
        &column(Field::Identity) as &[Option<&str>],
        &column(Field::Phone) as &[Option<&str>],
        &column(Field::Email) as &[Option<&str>],
        &column(Field::Company) as &[Option<&str>],
        &column(Field::Position) as &[Option<&str>],
        &column(Field::Birthday) as &[Option<&str>],
        &column(Field::ZipCode) as &[Option<&str>],
        &column(Field::Country) as &[Option<&str>],
        &column(Field::State) as &[Option<&str>],
        &column(Field::City) as &[Option<&str>],
        &column(Field::District) as &[Option<&str>],
        &column(Field::Street) as &[Option<&str>],
        &column(Field::Number) as &[Option<&str>],
        &column(Field::Complement) as &[Option<&str>],
        &provenance,
        &created,
        &updated,
    )
    .execute(conn)
    .await?;
    debug_assert_eq!(written.rows_affected(), contacts.len() as u64);
    Ok(())
}

async fn claim_identifiers(
    conn: &mut PgConnection,
    identifiers: &[(CompanyId, Identifier, ContactId)],
) -> Result<bool, sqlx::Error> {
    let companies: Vec<&str> = identifiers.iter().map(|(company, ..)| company.as_str()).collect();
    let kinds: Vec<&str> = identifiers.iter().map(|(_, identifier, _)| identifier.kind()).collect();
    let values: Vec<&str> = identifiers.iter().map(|(_, identifier, _)| identifier.value()).collect();
    let owners: Vec<Uuid> = identifiers.iter().map(|(.., owner)| owner.0).collect();
    let claimed = sqlx::query!(
        "INSERT INTO contact_identifiers (company_id, kind, value, contact_id)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::uuid[])
         ON CONFLICT DO NOTHING",
        &companies as &[&str],
        &kinds as &[&str],
        &values as &[&str],
        &owners,
    )
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == identifiers.len() as u64)
}

/// Repoints what pointed at the losers, in one go: `merges` names for each loser the contact that
/// lives on at the end, so chains are flat.
async fn write_merges(conn: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = changes.merges.iter().map(|merge| merge.company.as_str()).collect();
    let losers: Vec<Uuid> = changes.merges.iter().map(|merge| merge.loser.0).collect();
    let winners: Vec<Uuid> = changes.merges.iter().map(|merge| merge.winner.0).collect();
    let events: Vec<Uuid> = changes.merges.iter().map(|merge| merge.event_key).collect();
    for table in ["contact_identifiers", "contact_aliases"] {
        // The table is one of the two names above.
        let statement = format!(
            "UPDATE {table} t SET contact_id = m.winner
             FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS m(company_id, loser, winner)
             WHERE t.company_id = m.company_id AND t.contact_id = m.loser"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&companies)
            .bind(&losers)
            .bind(&winners)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query!(
        "INSERT INTO contact_aliases (company_id, alias_id, contact_id, merged_by)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::uuid[])",
        &companies as &[&str],
        &losers,
        &winners,
        &events,
    )
    .execute(&mut *conn)
    .await?;
    let (companies, ids): (Vec<&str>, Vec<Uuid>) =
        changes.removed.iter().map(|(company, id)| (company.as_str(), id.0)).unzip();
    let removed = sqlx::query!(
        "DELETE FROM contacts c USING UNNEST($1::text[], $2::uuid[]) AS k(company_id, contact_id)
         WHERE c.company_id = k.company_id AND c.contact_id = k.contact_id",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    debug_assert_eq!(removed.rows_affected(), changes.removed.len() as u64);
    Ok(())
}

struct Row {
    kind: String,
    value: String,
    company_id: String,
    contact_id: Uuid,
    version: i64,
    name: Option<String>,
    identity: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    company: Option<String>,
    position: Option<String>,
    birthday: Option<String>,
    zip_code: Option<String>,
    country: Option<String>,
    state: Option<String>,
    city: Option<String>,
    district: Option<String>,
    street: Option<String>,
    number: Option<String>,
    complement: Option<String>,
    provenance: String,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn into_contact(self) -> Result<(Identifier, Contact), sqlx::Error> {
        let identifier = match self.kind.as_str() {
            "phone" => Identifier::Phone(Phone::from_stored(self.value)),
            _ => Identifier::Email(Email::from_stored(self.value)),
        };
        let columns = [
            (Field::Name, self.name),
            (Field::Identity, self.identity),
            (Field::Phone, self.phone),
            (Field::Email, self.email),
            (Field::Company, self.company),
            (Field::Position, self.position),
            (Field::Birthday, self.birthday),
            (Field::ZipCode, self.zip_code),
            (Field::Country, self.country),
            (Field::State, self.state),
            (Field::City, self.city),
            (Field::District, self.district),
            (Field::Street, self.street),
            (Field::Number, self.number),
            (Field::Complement, self.complement),
        ];
        let stamps =
            provenance::from_json(&self.provenance).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let mut values = FieldMap::default();
        for (field, value) in columns {
            if let (Some(value), Some(stamp)) = (value, stamps.get(field)) {
                values.insert(field, Stamped { value, stamp: stamp.clone() });
            }
        }
        let contact = Contact {
            id: ContactId(self.contact_id),
            company: CompanyId::new(&self.company_id)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            version: self.version,
            values,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        Ok((identifier, contact))
    }
}
