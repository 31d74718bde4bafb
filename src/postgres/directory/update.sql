-- Changed contacts, which are locked.
UPDATE contacts c SET (version, created_at, updated_at, provenance, phones, emails, separations, name, identity, phone, email,
    company, position, birthday, zip_code, country, state, city, district, street, number, complement)
    = (u.version, u.created_at, u.updated_at, u.provenance, string_to_array(u.phones, ' '), string_to_array(u.emails, ' '),
        string_to_array(u.separations, ' '), u.name, u.identity, u.phone, u.email, u.company, u.position, u.birthday,
        u.zip_code, u.country, u.state, u.city, u.district, u.street, u.number, u.complement)
FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[])
    AS u(company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations, name, identity,
        phone, email, company, position, birthday, zip_code, country, state, city, district, street, number, complement)
WHERE c.company_id = u.company_id AND c.contact_id = u.contact_id
