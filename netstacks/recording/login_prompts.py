"""Log-in prompts of devices, classified by their words in many languages."""

import re
from typing import Literal

PromptKind = Literal["user name", "password", "old password", "new password", "something else"]

# One-time secrets, and secrets that are not passwords: a stored password never answers these.
_ONE_TIME = (
    r"one.?time|otp\b|token|pass.?code|pin\b|verification|authenticat(?:or|ion) code|\bcode\b|response|challenge"
    r"|securid|duo\b|yubi|sms|second factor|2fa|mfa|tan\b|captcha|passphrase|enable"
    r"|einmal|bestätigungscode|usage unique|code à|un solo uso|uso único|código|dinámica|usa e getta|codice|eenmalig"
    r"|engångs|engangs|kertakäyttö|jednoraz|egyszeri|tek kullanım|одноразов|код|смс"
    r"|动态|動態|验证码|驗證碼|一次性|ワンタイム|認証コード|인증번호|일회용"
)
_NEW = (
    r"\bnew\b|re-?type|re-?enter|again|confirm|repeat|verify"
    r"|\bneue[sn]?\b|wiederhol|bestätig|nouveau|confirme|\bnuev[ao]|confirmar|\bnova\b|\bnuova\b|nieuw|\bnytt\b|\buus"
    r"|\bnow[ey]|\bnov[ée]|нов|повтор|подтверд|yeni|新|再输入|再輸入|确认|確認|もう一度|새|다시"
)
# A refusal before the question: `Incorrect, try again. Password:` asks for no new one.
_TRY_AGAIN = (
    r"(?:try|log ?in) (?:it )?(?:once )?(?:again|anew)|(?:erneut|noch ?mals?|wieder) versuch\w*"
    r"|versuchen sie es (?:erneut|noch ?mals?|noch einmal)|r[ée]essay\w*|int[ée]nt\w* (?:lo )?de nuevo"
    r"|tent\w* novamente|riprov\w*|probeer opnieuw|försök igen|попробуйте (?:ещё|еще) раз|请重试|請重試|重试"
)
_OLD = (
    r"\bold\b|current|existing|\balte[sn]?\b|aktuell|actuel|ancien|\bactual|anterior|attuale|vecchia|huidig|\boude?\b"
    r"|текущ|стар|旧|舊|当前|當前|現在|현재|이전"
)
_PASSWORDS = (
    r"password|passwd|passwort|kennwort|mot de passe|contrase[nñ]a|\bclave\b|\bsenha|palavra.passe"
    r"|parola|wachtwoord|l[oö]senord|adgangskode|passord|salasana|has[lł]o|heslo|jelsz[oó]|пароль|şifre|sifre"
    r"|κωδικ[οό]ς|סיסמ|كلمة|密码|密碼|口令|パスワード|비밀번호|암호"
)
_USER_NAME = (
    r"user ?name|user ?id|\buser\b|\blogin\b|\baccount\b|benutzer|anmeldename|identifiant|utilisateur|usuario|usuário"
    r"|\butente\b|nome utente|gebruiker|käyttäjä|användar|brugernavn|brukernavn|użytkownik|uživatel|felhasznál"
    r"|пользовател|логин|kullanıcı|用户|用戶|使用者|帐号|账号|ユーザ|사용자"
)

_QUESTION_ENDS = (":", "：", "?", "？")
_SECRET = re.compile(rf"(?:{_PASSWORDS}|{_ONE_TIME}|secret|community)[^#$%>]*[:：?？]\s*$")


def classify_prompt(question: str, *, echo: bool) -> PromptKind:
    """The kind of answer that the question asks for. Input for a password is not echoed, for a user name it is."""
    # `user@host's password:` and `Password for the user of token-server:`: names must not match as keywords.
    words = re.sub(r"(?<!\S)[^\s@]+@\S+|\bfor\b.*", "", question.casefold()).strip(" :>\r\n\t")
    words = re.sub(_TRY_AGAIN, "", words)
    if echo:
        is_name = re.search(_USER_NAME, words) and not re.search(f"{_ONE_TIME}|{_PASSWORDS}|\\?", words)
        return "user name" if is_name else "something else"
    if re.search(_ONE_TIME, words):
        return "something else"
    if re.search(_PASSWORDS, words):
        # `Enter old password to confirm the change` asks for the old one.
        if re.search(_OLD, words):
            return "old password"
        return "new password" if re.search(_NEW, words) else "password"
    # Some devices prompt with nothing but a colon.
    return "something else" if words else "password"


def asks_for_secret(line: str) -> bool:
    """Whether a line is a prompt for a secret, by a known word for one.

    It must end with a colon or a question mark, unlike a command at its prompt (`code-sw1#enable`).
    """
    # The words are searched only where the end fits: most lines end differently, and each key may ask.
    return line.rstrip().endswith(_QUESTION_ENDS) and _SECRET.search(line.casefold()) is not None
