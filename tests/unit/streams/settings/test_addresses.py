"""Addresses, names and numbers: what is taken, and what a wrong one is told to write."""

from __future__ import annotations

import pytest

from streams.settings import ConfigurationError, load_settings
from streams.settings.addresses import host_in_url, reachable_host


def refusal(name: str, value: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**{name: value})
    said = str(caught.value)
    assert said.startswith(f"TOCSIN_{name.upper()}: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("kafka:9092", ["kafka:9092"]),
        ("a:1, b.example:65535", ["a:1", "b.example:65535"]),
        ("10.0.0.1:9092", ["10.0.0.1:9092"]),
        ("[::1]:9092,[2001:db8::1]:9093", ["[::1]:9092", "[2001:db8::1]:9093"]),
        ("[fe80::1%eth0]:9092", ["[fe80::1%eth0]:9092"]),
        ("b-1.my_cluster.example.:9092", ["b-1.my_cluster.example.:9092"]),
        ("bücher.example:9092", ["bücher.example:9092"]),
        ("a:1,a:2", ["a:1", "a:2"]),
    ],
)
def test_brokers_that_can_be_meant(given: str, taken: list[str]) -> None:
    assert load_settings(brokers=given).broker_list == taken


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("kafka", "write kafka:9092"),
        ("kafka:", "write kafka:9092"),
        (":9092", "is not host:port"),
        ("::1:9092", "write [::1]:9092"),
        ("2001:db8::7:9092", "write [2001:db8::7]:9092"),
        ("::1", "write [::1]:9092"),
        ("fe80::1%eth0:9092", "write [fe80::1%eth0]:9092"),
        ("2001:db8::abcd", "write [2001:db8::abcd]:9092"),
        ("[::1]", "write [::1]:9092"),
        ("[::1]9092", "from 1 to 65535"),
        ("[::1]:0", "from 1 to 65535"),
        ("[kafka]:9092", "write an IPv6 address as [::1]:9092"),
        ("[127.0.0.1]:9092", "write an IPv6 address as [::1]:9092"),
        ("[::1:9092", "write an IPv6 address as [::1]:9092"),
        ("kafka:0", "from 1 to 65535"),
        ("kafka:65536", "from 1 to 65535"),
        ("kafka:-1", "from 1 to 65535"),
        ("kafka:+9092", "from 1 to 65535"),
        ("kafka:\uff19\uff10", "from 1 to 65535"),
        ("kafka:²", "from 1 to 65535"),
        ("kafka:9092a", "from 1 to 65535"),
        ("kafka:99999999999999999999", "from 1 to 65535"),
        ("a:1:b:2", "separate addresses by commas"),
        ("a:1 b:2", "separate addresses by commas"),
        ("my host:9092", "separate addresses by commas"),
        ("a:1;b:2", "separate addresses by commas"),
        ("a:1,,b:2", "nothing between two commas"),
        ("a:1,", "nothing between two commas"),
        (",a:1", "nothing between two commas"),
        ("a:1,b:2,A:1", "is there twice"),
        ("kafka://a:9092", "without user, password or scheme"),
        ("PLAINTEXT://a:9092", "without user, password or scheme"),
        ("me:hunter2@a:9092", "without user, password or scheme"),
        ("a:9092/chroot", "without user, password or scheme"),
        ("256.0.0.1:9092", "neither a host name nor an IP address"),
        ("1.2.3:9092", "neither a host name nor an IP address"),
        ("a..b:9092", "neither a host name nor an IP address"),
        (f"{'a' * 64}:9092", "neither a host name nor an IP address"),
        ("-a:9092", "neither a host name nor an IP address"),
        ("a:1\n", "take out the character U+000A"),
    ],
)
def test_brokers_that_cannot(given: str, words: str) -> None:
    said = refusal("brokers", given)
    assert words in said
    assert "hunter2" not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "*", "::1", "localhost", "node-1.example"])
def test_hosts_to_listen_on(host: str) -> None:
    settings = load_settings(web_host=host, web_token="sixteen-characters")
    assert settings.web_host == host
    assert settings.web_is_loopback == (host in ("127.0.0.1", "::1", "localhost"))


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "::", "node-1.example", "::ffff:0.0.0.0", "0"])
def test_hosts_that_others_reach_need_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(web_host=host)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("[::1]", "write ::1 without brackets"),
        ("[::]", "write :: without brackets"),
        ("127.0.0.1:6066", "write 127.0.0.1 without the port, which is TOCSIN_WEB_PORT"),
        ("[::1]:6066", "without the port, which is TOCSIN_WEB_PORT"),
        ("http://127.0.0.1", "write 127.0.0.1, or * for all"),
        ("127.0.0.1 ", "write 127.0.0.1, or * for all"),
        ("**", "write 127.0.0.1, or * for all"),
        ("0.0.0", "write 127.0.0.1, or * for all"),
        ("127.0.0.1,::1", "write 127.0.0.1, or * for all"),
    ],
)
def test_hosts_that_cannot_be_listened_on(host: str, words: str) -> None:
    assert words in refusal("web_host", host)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("*", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%25eth0]"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_a_server_is_found_where_it_listens(host: str, shown: str) -> None:
    assert host_in_url(reachable_host(host)) == shown


@pytest.mark.parametrize(
    "url", ["https://idp.example/token", "http://127.0.0.1:8080/t?x=1", "https://[::1]/t"]
)
def test_urls_of_a_token_endpoint(url: str) -> None:
    assert load_settings(sasl_oauth_token_url=url).sasl_oauth_token_url == url


@pytest.mark.parametrize(
    "url",
    [
        "idp.example/token",
        "ftp://idp.example/token",
        "https:///token",
        "https://me:hunter2@idp.example/token",
        "https://idp.example:0/token",
        "https://idp.example:65536/token",
        "https://idp.example:many/token",
        "https://idp.example/to ken",
        "https://idp.example/token#part",
        "https://[::1/token",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    said = refusal("sasl_oauth_token_url", url)
    assert "write it as https://host/path" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("web_port", "0x10"),
        ("web_port", "65536"),
        ("web_port", "-1"),
        ("flush_interval_s", "nan"),
        ("flush_interval_s", "1s"),
        ("drain_deadline_s", "inf"),
        ("drain_deadline_s", "1e300"),
        ("session_timeout_s", "-inf"),
        ("batch_ms", "0"),
        ("buffer_bytes", str(2**70)),
        ("fetch_bytes", str(2**31)),
        ("max_notification_bytes", str(2**31)),
        ("max_event_types", str(2**70)),
        ("partitions", "9" * 5000),
        ("weights", "critical=nan"),
        ("weights", "critical=inf"),
        ("weights", "critical=16,CRITICAL=8"),
        ("weights", "critical:16"),
        ("weights", {"warn": 4, "warning": 5}),
        ("age_limits", "debug=5m"),
        ("age_limits", "debug=-1"),
        ("dead_letter_topic", "dead letters"),
        ("dead_letter_topic", ".."),
        ("dead_letter_topic", "d" * 250),
        ("event_counts_topic", "counts/all"),
        ("notification_topic_prefix", "notifications:"),
        ("alert_topic_prefix", "a" * 242),
        ("app_id", "töcsin"),
        ("pool", "-urgent"),
        ("instance_id", "pod 1"),
        ("instance_id", "pod/1"),
        ("create_topics", "ja"),
        ("log_level", "LOUD"),
        ("data_dir", "/var/lib\n"),
        ("ssl_ca_file", "/ca\x00.pem"),
        ("sasl_username", "me\x00you"),
        ("sasl_aws_region", "Ireland"),
    ],
)
def test_values_out_of_bounds(name: str, value: object) -> None:
    assert len(refusal(name, value)) < 400


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "TOCSIN_SASL_USERNAME"),
        ({"sasl_username": "me"}, "TOCSIN_SASL_PASSWORD_FILE"),
        ({"sasl_mechanism": "OAUTHBEARER"}, "either TOCSIN_SASL_OAUTH_TOKEN_FILE or"),
        (
            {
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_oauth_token_file": "t",
                "sasl_oauth_token_url": "https://a/",
            },
            "either TOCSIN_SASL_OAUTH_TOKEN_FILE or",
        ),
        (
            {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_url": "https://a/"},
            "TOCSIN_SASL_OAUTH_CLIENT_ID and TOCSIN_SASL_OAUTH_CLIENT_SECRET_FILE",
        ),
        ({"sasl_mechanism": "AWS_MSK_IAM"}, "TOCSIN_SASL_AWS_REGION"),
        ({"sasl_mechanism": "AWS_MSK_IAM", "security_protocol": "SASL_PLAINTEXT"}, "needs TOCSIN_SECURITY"),
        ({"sasl_mechanism": "GSSAPI"}, "TOCSIN_SASL_MECHANISM"),
    ],
)
def test_what_a_mechanism_needs(values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**({"security_protocol": "SASL_SSL"} | values))
    assert words in str(caught.value)
