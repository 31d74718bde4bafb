-- A page of contacts, with their values by field, as provenance names them.
SELECT c.company_id, c.contact_id, c.provenance, c.phones, c.emails,
    jsonb_strip_nulls(jsonb_build_object(
        'name', c.name, 'identity', c.identity, 'phone', c.phone, 'email', c.email, 'company', c.company,
        'position', c.position, 'birthday', c.birthday, 'zipCode', c.zip_code, 'country', c.country, 'state', c.state,
        'city', c.city, 'district', c.district, 'street', c.street, 'number', c.number, 'complement', c.complement))::text
        AS "values!"
FROM contacts c
WHERE (c.company_id, c.contact_id) > ($1, $2) AND c.company_id <= $3
ORDER BY c.company_id, c.contact_id LIMIT $4
