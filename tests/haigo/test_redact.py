"""One owner of what is a secret."""

import pytest
from shared_data import data_of

from haigo import cli, redact, shown

DATA = data_of(__file__)


@pytest.mark.parametrize("name", DATA["names_of_secrets"])
def test_names_of_secrets(name):
    assert redact.secret(name)


@pytest.mark.parametrize("name", DATA["names_of_others"])
def test_names_of_others(name):
    assert not redact.secret(name)


@pytest.mark.parametrize(("given", "shown"), DATA["texts"])
def test_texts(given, shown):
    assert redact.text(given) == shown


def test_words_values_and_files():
    assert (
        redact.command(["x", "--hf-token", "abc", "--tokens", "3e9", "--key"])
        == "x --hf-token '***' --tokens 3e9 --key"
    )
    assert redact.value("", {"a": {"api_key": "x", "tokens": 5}, "b": ["http://u:p@h"]}) == {
        "a": {"api_key": "***", "tokens": 5},
        "b": ["http://***@h"],
    }
    given = '"lr": 0.1,\n  "wandb_api_key": "abc",\nhost: http://u:p@h/\ntokens: 5\ntokenizer_type: SPM\nmy_secret: |\n'
    shown = '"lr": 0.1,\n  "wandb_api_key": ***\nhost: http://***@h/\ntokens: 5\ntokenizer_type: SPM\nmy_secret: |\n'
    assert redact.config(given) == shown


@pytest.mark.parametrize("key", DATA["keys_of_a_known_form_in_any_variable_and_on_the_terminal"])
def test_keys_of_a_known_form_in_any_variable_and_on_the_terminal(key, capsys):
    for told in (
        redact.text(f"NCCL_NOTE {key}"),
        redact.value("note", key),
        shown.text(key),
        redact.command(["x", key]),
    ):
        assert "***" in told and key not in told

    def main(argv):
        print(f"told: {key}")

    assert cli.run(main, []) == 0
    assert key not in capsys.readouterr().out
    assert (
        redact.urls("https://x.example/sk-learn-for-all-of-us-and-more")
        == "https://x.example/sk-learn-for-all-of-us-and-more"
    )


@pytest.mark.parametrize("name", ["SSHPASS", "LDAP_BIND_PW", "SLACK_WEBHOOK_URL", "SENTRY_DSN", "MY_JWT"])
def test_further_names_of_secrets(name):
    assert redact.secret(name) and redact.value(name, "sesame") == "***"
