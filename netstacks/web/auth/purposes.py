"""The purpose of each permission, in the words of an error text: 'You need the ha.view permission to see HA status.'"""

PURPOSES = {
    "about.view": "see the versions of the installed components",
    "audit.manage": "manage the targets that the audit log is sent to, and how long it is kept",
    "audit.view": "see the audit log",
    "credentials.manage": "manage shared credentials",
    "devices.access": "see devices",
    "devices.manage": "manage devices",
    "ha.manage": "drain instances, move sessions and dismiss lost instances",
    "ha.view": "see HA status",
    "hostkeys.manage": "manage host keys",
    "license.manage": "manage the licence",
    "llm.manage": "manage language models",
    "recordings.input": "read the recorded keystrokes",
    "recordings.view": "see recordings",
    "roles.manage": "change roles",
    "sessions.connect": "open terminals",
    "sessions.manage": "manage the sessions of other users",
    "settings.manage": "change system settings",
    "sso.manage": "manage single sign-on",
    "users.manage": "manage users",
}
