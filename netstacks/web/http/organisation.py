"""One installation is one organisation."""

# Clients expect an id on everything (wire contract 5).
ORG_ID = "00000000-0000-4000-8000-000000000001"
