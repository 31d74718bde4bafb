-- A page of contacts, with the fields that have a value, as provenance names them.
SELECT c.company_id, c.contact_id, c.provenance, c.phones, c.emails,
    array_remove(ARRAY[
        CASE WHEN c.name IS NOT NULL THEN 'name' END,
        CASE WHEN c.identity IS NOT NULL THEN 'identity' END,
        CASE WHEN c.phone IS NOT NULL THEN 'phone' END,
        CASE WHEN c.email IS NOT NULL THEN 'email' END,
        CASE WHEN c.company IS NOT NULL THEN 'company' END,
        CASE WHEN c.position IS NOT NULL THEN 'position' END,
        CASE WHEN c.birthday IS NOT NULL THEN 'birthday' END,
        CASE WHEN c.zip_code IS NOT NULL THEN 'zipCode' END,
        CASE WHEN c.country IS NOT NULL THEN 'country' END,
        CASE WHEN c.state IS NOT NULL THEN 'state' END,
        CASE WHEN c.city IS NOT NULL THEN 'city' END,
        CASE WHEN c.district IS NOT NULL THEN 'district' END,
        CASE WHEN c.street IS NOT NULL THEN 'street' END,
        CASE WHEN c.number IS NOT NULL THEN 'number' END,
        CASE WHEN c.complement IS NOT NULL THEN 'complement' END], NULL) AS "given!"
FROM contacts c
WHERE (c.company_id, c.contact_id) > ($1, $2) AND c.company_id <= $3
ORDER BY c.company_id, c.contact_id LIMIT $4
