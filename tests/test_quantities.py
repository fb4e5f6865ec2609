"""Durations, sizes and addresses: parsing, errors and formatting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.support.quantities import (
    ListenAddress,
    format_duration,
    format_size,
    parse_duration,
    parse_listen_address,
    parse_size,
)

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZE_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
}
# Python accepts digits of other scripts, but hardly anybody writes them on purpose.
NONSENSE = ("", " ", "-", "five", "1,5", "1e3", "0x10", "+1", "-1", "inf", "nan", "٣", "²", "1 2")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("1.5s", 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("36h", 129_600),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1w2d3h4m5s6ms", 788_645.006),
    ],
)
def test_durations_are_parsed_to_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@given(st.integers(0, 10**9), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_unit_of_time_has_its_length(amount: int, unit: str) -> None:
    assert parse_duration(f"{amount}{unit}") == pytest.approx(amount * DURATION_UNITS[unit])


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(DURATION_UNITS)))))
def test_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    texts = [f"{amount}{unit}" for amount, unit in parts]
    if texts:
        assert parse_duration("".join(texts)) == pytest.approx(sum(map(parse_duration, texts)))


@pytest.mark.parametrize("text", [*NONSENSE, "5", "5M", "5 m", "m", "5m ", "5m-1s", "1.m", "٣m"])
def test_an_invalid_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write e\.g\. 30s"):
        parse_duration(text)


@given(st.integers(0, 10**6), st.sampled_from(sorted(SIZE_UNITS)), st.sampled_from(["", " "]))
def test_every_unit_of_size_has_its_number_of_bytes(amount: int, unit: str, gap: str) -> None:
    size = amount * SIZE_UNITS[unit]
    assert parse_size(f"{amount}{gap}{unit}") == size
    assert parse_size(f"{amount}{gap}{unit.lower()}") == size
    assert parse_size(f" {amount}{gap}{unit.upper()} ") == size


@given(st.integers(0, 2**80))
def test_a_number_of_bytes_is_exact(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5KiB", 1536),
        ("0.1kB", 100),
        ("2GB", 2_000_000_000),
        ("50GiB", 53_687_091_200),
        ("0.0009kB", 0),
        ("9007199254740993", 9_007_199_254_740_993),
    ],
)
def test_fractions_of_units_are_rounded_down_to_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [*NONSENSE, "GiB", "5G", "5Gi", "5iB", "5EB", "5 i B", "1.GiB"])
def test_an_invalid_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write e\.g\. 50GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3.0 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_are_written_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**62))
def test_a_written_size_reads_back_as_about_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)


@given(st.integers(0, 2**60))
def test_no_size_below_pebibytes_has_more_than_four_digits_before_the_point(size: int) -> None:
    amount = float(format_size(size).split()[0])
    assert amount < 1024 or size >= 1024**5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0456, "46ms"),
        (1, "1s"),
        (2.345, "2.35s"),
        (119, "119s"),
        (120, "2m"),
        (7200, "2h"),
        (172_799, "48h"),
        (172_800, "2d"),
        (90 * 86400, "90d"),
    ],
)
def test_durations_are_written_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0.01, 10**9))
def test_a_written_duration_reads_back_as_about_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.3)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10996", "", 10996),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("exporter.example.com:65535", "exporter.example.com", 65535),
        ("[::1]:80", "::1", 80),
        ("[::]:80", "::", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_listen_address(text) == ListenAddress(host, port)


hosts = st.one_of(
    st.just(""),
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True),
)


@given(hosts, st.integers(0, 65535))
def test_a_written_address_reads_back_as_itself(host: str, port: int) -> None:
    address = ListenAddress(host, port)
    assert parse_listen_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *(*NONSENSE, "10996", ":", "host:", ":http", ":65536", ":-1", ":٨٠", "[]:80", "[host]:80"),
        *("[::1]", "[::1:80", "::1]:80", "[[::1]]:80", "a b:80", " :80", "http://host:80"),
    ],
)
def test_an_invalid_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address; write e\.g\. :10996"):
        parse_listen_address(text)


def test_an_ipv6_address_without_brackets_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"needs brackets around an IPv6 address: \[::1\]:80"):
        parse_listen_address("::1:80")
