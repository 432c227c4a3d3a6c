"""The purpose of each permission, in the words of an error text: 'You need the ha.view permission to see HA status.'"""

PURPOSES = {
    "audit.view": "see the audit log",
    "credentials.manage": "manage shared credentials",
    "devices.access": "see devices",
    "devices.manage": "manage devices",
    "ha.manage": "drain instances",
    "ha.view": "see HA status",
    "hostkeys.manage": "manage host keys",
    "license.manage": "manage the licence",
    "llm.manage": "manage language models",
    "recordings.view": "see recordings",
    "sessions.connect": "open terminals",
    "sessions.manage": "manage the sessions of other users",
    "users.manage": "manage users",
}
