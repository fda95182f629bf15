"""Diet minutes: every record once, whatever the server does, and nothing that was not asked for."""

import datetime
import itertools
import json

import diet_server
import pytest
from diet_server import Diet, bad_request, busy, changed, made_up, xml
from fetch_server import (
    Answer,
    FakeClock,
    Server,
    as_json,
    broken_gzip,
    cut,
    cut_chunked,
    silent,
    status,
)

from haigo import files
from haigo.cli import Failed, HaigoError, Refused
from preprocess import clean, fetch, sources
from preprocess.fetch import state
from preprocess.fetch.client import Client
from preprocess.fetch.kokkai import Kokkai

FIRST, LAST = datetime.date(2024, 3, 1), datetime.date(2024, 3, 4)
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp()


@pytest.fixture
def clock():
    return FakeClock(START)


@pytest.fixture
def get(tmp_path, clock):
    """Fetch into a folder; the card comes back."""

    def call(server, name="diet", first=FIRST, last=LAST, gap_s=3.0, tries=6, **options):
        client = Client("a@example.org", gap_s=gap_s, tries=tries, clock=clock, turns_folder=tmp_path / "turns")
        source = Kokkai(first, last, base_url=f"{server.url}/api", **options)
        return fetch.fetch_corpus(source, tmp_path / name, client)

    return call


def held(folder):
    return list(sources.read([folder]))


def expected(records):
    return {record["speechID"]: record["speech"] for record in records if record["speechOrder"]}


def require_whole(folder, records):
    found = held(folder)
    assert len(found) == len({one.id for one in found})
    assert {one.id: one.text for one in found} == expected(records)


def test_every_speech_once_with_licence_origin_and_date(get, clock, tmp_path):
    records = made_up()
    with Server(Diet(records), clock) as server:
        card = get(server)
    require_whole(tmp_path / "diet", records)
    assert len(server.requests) == 3 * 3 + 1 == card["requests"]  # 260 a day on three days, and one day of rest
    one = held(tmp_path / "diet")[0]
    assert one.meta["origin"] == "https://kokkai.ndl.go.jp/txt/121300000X00020240301/1"
    assert (
        "Article 40" in one.meta["licence"] and one.meta["fetched"] == "2026-11-01" and one.meta["markup"] == "minutes"
    )
    assert card["skipped"]["attendance list"]["count"] == 6 and card["complete"] and card["documents"] == 3 * 2 * 129
    assert card["characters"] == sum(len(text) for text in expected(records).values())
    assert sum(card["licences"].values()) == card["documents"]


def test_etiquette(get, clock):
    with Server(Diet(made_up()), clock) as server:
        get(server)
    times = [request.at for request in server.requests]
    assert all(after - before >= 3.0 for before, after in itertools.pairwise(times))
    assert server.most_at_once == 1
    assert all(request.query["recordPacking"] == "json" for request in server.requests)
    assert all("a@example.org" in request.headers["User-Agent"] for request in server.requests)


FAULTS = {
    "busy": busy,
    "400": bad_request,
    "429": status(429, Retry_After=9),
    "503": status(503, Retry_After=9),
    "500": status(500),
    "cut": cut,
    "cut chunks": cut_chunked,
    "broken gzip": broken_gzip,
    "silence": silent,
    "xml": xml,
    "html": lambda request, answer: Answer(b"<html>maintenance"),
    "half json": lambda request, answer: Answer(answer.body[:-40]),
    "other start": changed(startRecord=7),
    "other count": changed(numberOfReturn=3),
    "no records": changed(speechRecord=[]),
    "wrong next": changed(nextRecordPosition=5),
    "list": lambda request, answer: Answer(b"[]"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_complete_in_the_face_of(fault, get, clock, tmp_path):
    records = made_up(days=2)
    with Server(Diet(records), clock) as server:
        server.faults = {2: fault, 3: fault, 7: fault}
        card = get(server, last=FIRST + datetime.timedelta(1))
    require_whole(tmp_path / "diet", records)
    assert len(server.requests) == 6 + 3 and sum(card["repeated_requests"].values()) == 3


def test_all_at_once(get, clock, tmp_path):
    records = made_up(days=4, speeches=210)
    with Server(Diet(records), clock) as server:
        for number, fault in enumerate(FAULTS.values()):
            server.faults[2 + 2 * number] = fault
        get(server)
    require_whole(tmp_path / "diet", records)


def test_a_repeated_page_is_noticed(get, clock, tmp_path):
    records = made_up(days=1)
    diet = Diet(records)
    first_page = records[:100]

    def repeat(request, answer):
        page = json.loads(answer.body)
        return as_json(page | {"speechRecord": first_page[: page["numberOfReturn"]]})

    with Server(diet, clock) as server:
        server.faults = {2: repeat, 3: repeat, 5: repeat}
        card = get(server, last=FIRST)
    require_whole(tmp_path / "diet", records)
    assert card["repeated_requests"] == {"a page that came before": 3}


def test_the_total_grows_while_paging(get, clock, tmp_path):
    """A meeting comes in between: everything moves by its length, and one record would come twice and one never."""
    records = made_up(days=1, speeches=150)
    diet = Diet([record for record in records if "00000X" not in record["issueID"]])

    def more(request):
        if request.number == 2:
            diet.records = records

    with Server(diet, clock) as server:
        server.on_request = more
        get(server, last=FIRST)
    require_whole(tmp_path / "diet", records)


def test_the_total_shrinks_while_paging(get, clock, tmp_path):
    records = made_up(days=1, meetings=1, speeches=250)
    diet = Diet(records)

    def fewer(request):
        if request.number == 3:
            diet.records = records[:180]  # page 3 is now beyond the end: 19004

    with Server(diet, clock) as server:
        server.on_request = fewer
        get(server, last=FIRST)
    found = {one.id for one in held(tmp_path / "diet")}
    assert found >= set(expected(records[:180])) and len(found) == len(held(tmp_path / "diet"))


def test_records_change_places_without_a_change_of_the_total(get, clock, tmp_path):
    records = made_up(days=1)
    diet = Diet(records)

    def turned(request):
        if request.number == 2:
            diet.records = records[-50:] + records[:-50]

    with Server(diet, clock) as server:
        server.on_request = turned
        get(server, last=FIRST)
    require_whole(tmp_path / "diet", records)


def test_minutes_that_never_hold_still_end_in_a_sentence(get, clock):
    records = made_up(days=1, meetings=1, speeches=150)
    diet = Diet(records)

    def grow(request):
        diet.records = [*diet.records, records[5] | {"speechID": f"x{request.number}", "speechOrder": 5}]

    with Server(diet, clock) as server:
        server.on_request = grow
        with pytest.raises(Failed, match="changed 6 times"):
            get(server, last=FIRST)


def test_too_few_records_for_the_total_is_not_done(get, clock):
    records = made_up(days=1, meetings=1, speeches=50)
    with Server(Diet(records), clock) as server:
        server.faults = {number: changed(numberOfRecords=60) for number in range(1, 30)}
        with pytest.raises(Failed):
            get(server, last=FIRST)


class TestAgainstTheRequest:
    """The API ignores conditions that it does not understand, with HTTP 200."""

    def test_a_house_that_is_none_is_refused_before_it_is_asked(self, get, clock):
        with Server(Diet(made_up()), clock) as server:
            with pytest.raises(HaigoError, match=r"no house '衆院'.*衆議院"):
                get(server, house="衆院")
        assert not server.requests

    @pytest.mark.parametrize(
        ("options", "ignored", "said"),
        [
            ({"house": "衆議院"}, "nameOfHouse", "nameOfHouse"),
            ({"meeting": "本会議"}, "nameOfMeeting", "nameOfMeeting"),
            ({"session": 99}, "sessionFrom", "sessionFrom"),
        ],
    )
    def test_an_ignored_condition_is_noticed(self, get, clock, tmp_path, options, ignored, said):
        diet = Diet(made_up())

        def ignore(request):
            request.query.pop(ignored, None)
            return diet(request)

        with Server(ignore, clock) as server, pytest.raises(Refused, match=f"ignored {said}"):
            get(server, **options)
        assert not list((tmp_path / "diet").glob("*.zst"))

    def test_another_day_is_noticed(self, get, clock):
        diet = Diet(made_up())

        def ignore(request):
            request.query.pop("from"), request.query.pop("until")
            return diet(request)

        with Server(ignore, clock) as server, pytest.raises(Refused, match="from and until"):
            get(server)

    def test_conditions_that_hold(self, get, clock, tmp_path):
        records = made_up()
        with Server(Diet(records), clock) as server:
            get(server, house="参議院", meeting="予算 財務", session=213)
        require_whole(tmp_path / "diet", [record for record in records if record["nameOfHouse"] == "参議院"])

    def test_an_error_of_ours_is_told_at_once(self, get, clock):
        with Server(lambda request: as_json({"message": "(19007)no condition"}, 400), clock) as server:
            with pytest.raises(HaigoError, match="19007"):
                get(server)
        assert len(server.requests) == 1

    def test_conditions_too_long(self):
        with pytest.raises(HaigoError, match="2000 bytes"):
            Kokkai(FIRST, LAST, any_words="予算" * 400)


def test_whole_meetings(get, clock, tmp_path):
    records = made_up(days=2, meetings=13, speeches=4)
    with Server(Diet(records), clock) as server:
        get(server, endpoint="meeting")
    require_whole(tmp_path / "diet", records)
    assert len(server.requests) == 2 * 2 + 2
    with pytest.raises(HaigoError, match="--speaker"):
        Kokkai(FIRST, LAST, endpoint="meeting", speaker="x")


def test_what_is_finished_is_not_fetched_again(get, clock, tmp_path):
    """The run is broken off at every request in turn; in the end each page was asked for once, but the broken ones."""
    records = made_up(days=2, meetings=1, speeches=230)

    class Killed(BaseException):
        pass

    whole = Server(Diet(records), clock)
    with whole as server:
        get(server, "unbroken", last=FIRST + datetime.timedelta(1))
    pages = len(whole.requests)
    assert pages == 6
    with Server(Diet(records), clock) as server:
        real = clock.sleep
        stops = 0
        for _ in range(40):
            stops += 1
            left = iter(range(1))

            def sleep(seconds, left=left):
                if next(left, None) is None:
                    raise Killed
                real(seconds)

            clock.sleep = sleep
            try:
                get(server, last=FIRST + datetime.timedelta(1))
                break
            except Killed:
                assert not (tmp_path / "diet" / "DATA_CARD.json").exists()
        clock.sleep = real
    asked = [(request.query["from"], request.query["startRecord"]) for request in server.requests]
    assert stops > 2 and len(asked) == len(set(asked)) == pages
    require_whole(tmp_path / "diet", records)
    names = ["00000.jsonl.zst"]
    assert [path.name for path in sorted((tmp_path / "diet").glob("*.zst"))] == names
    for name in names:
        assert (tmp_path / "diet" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    assert files.read_json(tmp_path / "diet" / "DATA_CARD.json")["requests"] == pages


def test_a_later_run_asks_only_for_what_is_new_or_unsettled(get, clock, tmp_path):
    recent = datetime.date(2026, 10, 20)
    diet = Diet(made_up(days=2, speeches=30))
    with Server(diet, clock) as server:
        with pytest.raises(HaigoError, match="no document"):
            get(server, "other", first=recent, last=recent)
        get(server, last=LAST)
        count = len(server.requests)
        get(server, last=LAST)
        assert len(server.requests) == count  # all settled
        get(server, first=recent, last=recent)  # no minutes yet
        clock.now += 3 * 86400
        before = len(server.requests)
        get(server, first=recent, last=recent)
        assert len(server.requests) == before  # asked three days ago
        clock.now += 5 * 86400
        new = made_up(days=1, speeches=20, first=recent)
        diet.records += new
        card = get(server, first=recent, last=recent)
        assert len(server.requests) == before + 1
    assert set(expected(new)) <= {one.id for one in held(tmp_path / "diet")}
    assert len(card["shards"]) == 1  # the open shard was filled up


def test_a_folder_holds_one_corpus(get, clock):
    with Server(Diet(made_up()), clock) as server:
        get(server, house="参議院")
        with pytest.raises(Refused, match="another fetch"):
            get(server, house="衆議院")


def test_a_limit_stops_after_the_day(get, clock):
    with Server(Diet(made_up()), clock) as server:
        card = get(server, max_documents=100)
        assert len(server.requests) == 3 and not card["complete"]
        assert get(server)["complete"]


def test_dates():
    with pytest.raises(HaigoError, match="after --until"):
        Kokkai(LAST, FIRST)
    assert Kokkai(datetime.date(1900, 1, 1), LAST).first == datetime.date(1947, 5, 20)


def test_text_that_is_none_of_unicode(get, clock, tmp_path):
    """Half a surrogate pair is no JSON for orjson: the page is asked for again, and the run ends in a sentence."""
    records = made_up(days=1, meetings=1, speeches=3)
    with Server(
        lambda request: Answer(Diet(records)(request).body.replace("続".encode(), b"\\ud83d")), clock
    ) as server:
        with pytest.raises(Failed, match="not JSON"):
            get(server, last=FIRST)


def test_cleaning_reads_it(get, clock, tmp_path):
    with Server(Diet(made_up()), clock) as server:
        card = get(server)
    report = clean.clean_corpus("diet", [tmp_path / "diet"], tmp_path / "clean", min_chars=1)
    assert report["documents_in"] == card["documents"] and set(report["profiles"]) == {"minutes"}


def test_pages_of_the_real_api(get, clock, corpora, tmp_path):
    records = diet_server.replayed(corpora)
    dates = sorted({record["date"] for record in records})
    first, last = (datetime.date.fromisoformat(day) for day in (dates[0], dates[-1]))
    with Server(Diet(records), clock) as server:
        for number, fault in enumerate(FAULTS.values()):
            server.faults[3 + 11 * number] = fault
        card = get(server, first=first, last=last)
        without_faults = len(server.requests) - sum(card["repeated_requests"].values())
    require_whole(tmp_path / "diet", records)
    days = (last - first).days + 1
    pages = sum(max(0, -(-sum(record["date"] == day for record in records) // 100) - 1) for day in dates)
    assert without_faults == days + pages
    attendance = sum(record["speechOrder"] == 0 for record in records)
    assert card["documents"] + attendance == len(records)


def test_the_state_is_of_use_to_no_other_program(tmp_path):
    """Shards that were not fetched here are not written over."""
    (tmp_path / "00000.jsonl.zst").write_bytes(b"x")
    with pytest.raises(Refused, match="not fetched"), state.opened(tmp_path, {"source": "x"}):
        pass
