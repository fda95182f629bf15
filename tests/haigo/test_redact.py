"""One owner of what is a secret."""

import pytest

from haigo import cli, redact, shown


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "HF_TOKEN",
        "NCCL_AUTH",
        "PYTHON_AUTH",
        "MLFLOW_TRACKING_PASSWORD",
        "DB_PASS",
        "my-api-key",
        "apiKey",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "UCX_SECRET",
        "token",
        "accessToken",
        "AUTH_TOKEN",
        "PYPIAUTH",
        "GITHUB_PAT",
        "Authorization",
        "--hf-token",
    ],
)
def test_names_of_secrets(name):
    assert redact.secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "PWD",
        "PYTHONPATH",
        "TOKENIZERS_PARALLELISM",
        "tokenizer_type",
        "AUTHOR",
        "author",
        "PYTHONUNBUFFERED",
        "--text-key",
        "NCCL_SOCKET_IFNAME",
        "BYPASS",
        "pattern",
        "MLFLOW_TRACKING_URI",
        "lr",
        "checkpoint_factor",
        "compass",
    ],
)
def test_names_of_others(name):
    assert not redact.secret(name)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://user:pass@proxy:8080/x", "http://***@proxy:8080/x"),
        ("see https://ghp_abc@github.com/a/b, too", "see https://***@github.com/a/b, too"),
        ("postgresql+psycopg2://u:p%40ss@db/x", "postgresql+psycopg2://***@db/x"),
        ("http://u:p@ss@host/", "http://***@host/"),
        ("http://u:p/w@host/x", "http://***@host/x"),
        ("http://host:8080/@name/a@b", "http://host:8080/@name/a@b"),
        ("https://h/f?a=1&access_token=xyz&b=2#c", "https://h/f?a=1&access_token=***&b=2#c"),
        ("https://h/f?X-Amz-Signature=abc&Expires=5", "https://h/f?X-Amz-Signature=***&Expires=5"),
        ("export WANDB_API_KEY=abc; cd /x", "export WANDB_API_KEY=***; cd /x"),
        ('export A_AUTH="a b c"; x', "export A_AUTH=***; x"),
        ("--api-key=abc -x", "--api-key=*** -x"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("--tokens=3_000 --max-tokens=1.5e9", "--tokens=3_000 --max-tokens=1.5e9"),
        ("mail a@example.org or ssh a:b", "mail a@example.org or ssh a:b"),
        ("pretrained=x,token=hf_abc,dtype=float32", "pretrained=x,token=***,dtype=float32"),
    ],
)
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


@pytest.mark.parametrize(
    "key",
    [
        "hf_" + "aB3" * 10,
        "ghp_" + "aB3" * 12,
        "github_pat_" + "aB3_" * 10,
        "xoxb-1234567890-abcdef",
        "sk-" + "aB3" * 12,
        "sk-proj-" + "aB3" * 12,
        "AKIA" + "ABCDEFGH12345678",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
        "https://hooks.slack.com/services/T0/B0/sesame",
    ],
)
def test_keys_of_a_known_form_in_any_variable_and_on_the_terminal(key, capsys):
    for told in (
        redact.text(f"NCCL_NOTE {key}"),
        redact.value("note", key),
        shown.text(key),
        redact.command(["x", key]),
    ):
        assert "***" in told and key not in told
    assert redact.exposed(key)

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
