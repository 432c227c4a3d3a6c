"""Log-in prompts of devices, recognised by their text."""

import pytest

from netstacks.recording.login_prompts import asks_for_secret, classify_prompt

PASSWORD = (
    *("Password: ", "password for admin@core-1:", "(admin@10.0.0.1) Password:", "admin@token-server's password:"),
    *(
        "Enter password:",
        "Please enter your RADIUS password",
        "Passwort:",
        "Kennwort:",
        "Mot de passe :",
        "Contraseña:",
    ),
    *(
        "Senha:",
        "Wachtwoord:",
        "Lösenord:",
        "Hasło:",
        "Пароль:",
        "密码:",
        "密碼：",
        "口令:",
        "パスワード:",
        "암호:",
        "",
        ": ",
    ),
)
OLD = (
    "(current) UNIX password:",
    "Old Password:",
    "Enter old password",
    "Aktuelles Passwort:",
    "Текущий пароль:",
    "旧密码:",
)
NEW = (
    *("New password:", "Retype new password: ", "Password has expired. Enter new password:", "Verify password:"),
    *(
        "Neues Passwort:",
        "Neues Kennwort bestätigen:",
        "Nouveau mot de passe :",
        "Nueva contraseña:",
        "Новый пароль:",
        "新密码:",
    ),
)
ELSE = (
    *("Enter PASSCODE:", "Verification code: ", "One-time password (OATH) for `x':", "Token_Response:", "Response:"),
    *("Duo passcode or option (1-3): ", "Enter your new PIN:", "Password + OTP:", "Einmalpasswort:", "Código:"),
    *(
        "Mot de passe à usage unique :",
        "Contraseña de un solo uso:",
        "Одноразовый пароль:",
        "动态口令:",
        "ワンタイムパスワード:",
    ),
    *("Enter SecurID:", "Key passphrase:", "Continue?"),
)


TRY_AGAIN = (
    *("Incorrect, try again. Password:", "Permission denied, please try again.\nPassword: ", "Login again. Password:"),
    *("Falsch, bitte erneut versuchen. Passwort:", "Intente de nuevo. Contraseña:", "请重试 密码:"),
)


@pytest.mark.parametrize("question", [*PASSWORD, *TRY_AGAIN])
def test_a_password(question: str) -> None:
    assert classify_prompt(question, echo=False) == "password"


@pytest.mark.parametrize("question", OLD)
def test_the_password_that_is_to_be_changed(question: str) -> None:
    assert classify_prompt(question, echo=False) == "old password"


@pytest.mark.parametrize("question", NEW)
def test_a_new_password(question: str) -> None:
    assert classify_prompt(question, echo=False) == "new password"


@pytest.mark.parametrize("question", ELSE)
def test_something_that_no_stored_secret_answers(question: str) -> None:
    assert classify_prompt(question, echo=False) == "something else"


@pytest.mark.parametrize("question", ["Username: ", "login: ", "login as:", "User:", "Benutzername:", "用户名:"])
def test_a_user_name(question: str) -> None:
    assert classify_prompt(question, echo=True) == "user name"


@pytest.mark.parametrize(
    "question", ["Password: ", "Verification code:", "Accept the user agreement?", "Enter a choice [1-3]:", "Domain:"]
)
def test_a_secret_is_never_shown_and_other_questions_are_the_users(question: str) -> None:
    assert classify_prompt(question, echo=True) == "something else"


@pytest.mark.parametrize(
    "line",
    [
        "Password: ",
        "[sudo] password for ann: ",
        "ann@server's password:",
        "Enter PASSCODE:",
        "Enter PIN for 'token': ",
        "Enable secret?",
        "Kennwort: ",
        "пароль:",
        "密码：",
    ],
)
def test_a_question_for_a_secret_is_known(line: str) -> None:
    assert asks_for_secret(line)


@pytest.mark.parametrize(
    "line",
    [
        "R1#",
        "code-sw1>",
        "token-server:~$ ",
        "root@vault:/secret# ",
        "login: ",
        "R1#enable",
        "R1(config)#enable secret x",
    ],
)
def test_a_prompt_for_commands_asks_for_no_secret(line: str) -> None:
    assert not asks_for_secret(line)
