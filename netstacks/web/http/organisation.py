"""The id of the organisation: one installation is one organisation."""

# Clients expect `org_id` in resources (docs/protocol.md, 5).
ORG_ID = "00000000-0000-4000-8000-000000000001"
