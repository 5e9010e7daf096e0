"""Passwords out of evidence: every place where tools take them, and the bounds of what is looked for."""

from __future__ import annotations

import pytest

from decnet.ttp import masking
from decnet.ttp.masking import concealed, masked, secrets_in

SECRET = "hunter2hunter"
PLACES = {
    0: ["wget ftp://bob:{}@203.0.113.9/x"],
    1: ["secretsdump.py corp/admin:{}@h"],
    2: ["PGPASSWORD={} psql", "/login?user=a&pwd={}&x=1", "export API_KEY={}", "TOKEN_X='{}'"],
    3: ['{{"user": "a", "password": "{}"}}', "secret: {}"],
    4: ["tool --auth-token {}", "mysql --password={} db", "x -passphrase {}", "tool --db-password={}"],
    5: ["curl -H 'Authorization: Bearer {}' h", "x-api-key: {}", "Authorization: {}"],
    6: ["sshpass -p {} ssh root@h", "sshpass -p{} ssh root@h"],
    7: ["echo root:{}|chpasswd", "echo 'root:{}' | sudo -n /usr/sbin/chpasswd"],
    8: ["chpasswd <<< 'root:{}'", "chpasswd <<EOF root:{}"],
    9: ["echo -e '{0}\\n{0}' | passwd bob", "printf {} | sudo passwd"],
    10: ["echo {} | sudo -S id", "printf {} | /usr/bin/sudo -k -S id"],
    11: ["passwd bob <<< {}"],
    12: ["mysqldump -u root -p{} db", "mysql -p'{}'"],
    13: ["curl -u bob:{} http://h/", "wget --user=a:{} h", "curl --proxy-user a:{} h", "curl -U a:{} h"],
    14: ["useradd -o -p {} bob", "usermod -p {} bob", "adduser -p{} bob"],
    15: ["openssl passwd -6 -salt ab {}", "openssl passwd {}"],
    16: ["openssl enc -aes-256-cbc -k {} -in x", "openssl req -passout pass:{}", "openssl rsa -passin pass:{}"],
    17: ["zip -r -P {} a.zip b", "unzip -P {} a.zip", "sqlcmd -P{}"],
    18: ["hydra -l root -p {} ssh://h", "7z a -p{} x", "docker login -u a -p {}", "xmrig -o pool -p {}", "unrar x -p{} a"],
    19: ["redis-cli -h h -a {} ping", "ldapsearch -x -w {}"],
    20: ["smbclient //h/s -U bob%{}"],
    21: ["htpasswd -cb f bob {}"],
    22: ["net user bob {} /add"],
}  # fmt: skip
"""Number of a place → lines with a password in it."""


def test_every_place_has_an_example() -> None:
    assert set(PLACES) == set(range(len(masking._PLACES)))


@pytest.mark.parametrize("number", PLACES)
def test_a_password_in_a_known_place_is_masked_and_the_rest_stays(number: int) -> None:
    for line in PLACES[number]:
        typed = line.format(SECRET)
        assert masking._pattern(number).search(typed) is not None, typed
        assert SECRET not in masked(typed), typed
        assert "***" in masked(typed)
        assert SECRET in " ".join(secrets_in(typed))
        assert SECRET not in concealed({"matched": SECRET}, typed)["matched"]
        for word in ("root", "bob", "curl", "psql", "sudo"):
            assert (word in typed.split()) <= (word in masked(typed).split()), typed


@pytest.mark.parametrize(
    "line",
    [
        "docker run -p 80:80 nginx", "ssh -p 2222 root@h", "cat /etc/passwd", "scp a.txt bob@h:/tmp/", "echo hi | passw",
        "wget http://203.0.113.9:8080/a", "net user", "passwd root", "mysql -P 3306", "zip -p a", "echo a | sudo -n id",
    ],
)  # fmt: skip
def test_what_is_no_password_stays(line: str) -> None:
    assert masked(line) == line
    assert secrets_in(line) == ()


@pytest.mark.parametrize(("size", "whole"), [(199, True), (200, True), (201, False)])
def test_a_value_is_masked_up_to_200_characters_and_what_follows_is_text(size: int, whole: bool) -> None:
    shown = masked(f"PGPASSWORD={'x' * size} psql")
    assert shown == ("PGPASSWORD=*** psql" if whole else "PGPASSWORD=***x psql")


def test_quoted_passwords_are_taken_without_their_quotes() -> None:
    assert secrets_in("mysql --password='two words' db") == ("two words",)
    assert masked("mysql --password='two words' db") == "mysql --password=*** db"


def test_each_line_of_what_passwd_is_given_is_a_password_of_its_own() -> None:
    line = r"echo -e 'oldsecret\nnewsecret\nnewsecret' | passwd"
    assert masked(line) == "echo -e *** | passwd"
    assert concealed({"matched": "newsecret", "steps": ["oldsecret"]}, line) == {
        "matched": "***",
        "steps": ["***"],
    }


def test_several_passwords_of_a_line_are_all_masked() -> None:
    line = "sshpass -p first ssh a@h; mysql -psecond; curl -u a:third h"
    assert masked(line) == "sshpass -p *** ssh a@h; mysql -p***; curl -u a:*** h"
    assert secrets_in(line) == ("second", "first", "third")


@pytest.mark.parametrize(("secret", "inside"), [("abc", False), ("abcd", True)])
def test_secrets_of_four_characters_are_hidden_inside_words_too(secret: str, inside: bool) -> None:
    shown = concealed({"matched": f"x{secret}x {secret}"}, f"mysql --password={secret}")["matched"]
    assert shown == ("x***x ***" if inside else f"x{secret}x ***")
