"""The API of a running controller is as its OpenAPI document says: schemathesis sends what the document permits."""
