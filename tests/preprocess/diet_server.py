"""The search API of the Diet minutes, played over records that are given to it, with its manners and bad manners."""

import datetime
import gzip
import json
from pathlib import Path

from fetch_server import Answer, as_json

HOUSES = ("衆議院", "参議院", "両院")


def made_up(days=3, meetings=2, speeches=130, first=datetime.date(2024, 3, 1)):
    """Records as the API gives them: newest day first, inside a meeting ascending."""
    records = []
    for day in reversed(range(days)):
        date = first + datetime.timedelta(day)
        for meeting in range(meetings):
            issue = f"1213{meeting:05d}X{day:03d}{date:%Y%m%d}"
            assert len(issue) == 21  # as the API has it
            for order in range(speeches):
                records.append(
                    {
                        "speechID": f"{issue}_{order:03d}",
                        "issueID": issue,
                        "session": 213,
                        "nameOfHouse": HOUSES[meeting % 2],
                        "nameOfMeeting": "予算委員会" if meeting % 2 else "本会議",
                        "issue": "第1号",
                        "date": date.isoformat(),
                        "speechOrder": order,
                        "speaker": "会議録情報" if order == 0 else f"議員{order % 7}",
                        "speakerGroup": None,
                        "speech": f"○議員{order % 7}君　{date}の発言、その{meeting}の{order}。\r\n　続けます。",
                        "speechURL": f"https://kokkai.ndl.go.jp/txt/{issue}/{order}",
                        "meetingURL": f"https://kokkai.ndl.go.jp/txt/{issue}",
                    }
                )
    return records


def replayed(corpora):
    """The records of the pages in the development corpora."""
    records = []
    for path in sorted((Path(corpora) / "diet" / "speech_pages").glob("*.json.gz")):
        records += json.loads(gzip.decompress(path.read_bytes()))["speechRecord"]
    return records


class Diet:
    """Answers `speech` and `meeting` requests."""

    def __init__(self, records):
        self.records = list(records)

    def __call__(self, request):
        query = request.query
        found = [
            record
            for record in self.records
            if query.get("from", "") <= record["date"] <= query.get("until", "9999")
            # a house that it does not know is no condition, and no error
            and (query.get("nameOfHouse") not in HOUSES or query["nameOfHouse"] == record["nameOfHouse"])
            and (
                not query.get("nameOfMeeting")
                or any(p in record["nameOfMeeting"] for p in query["nameOfMeeting"].split())
            )
        ]
        kind = request.path.rsplit("/", 1)[-1]
        if kind == "meeting":
            found = list(_meetings(found))
        start, most = int(query.get("startRecord", 1)), int(query["maximumRecords"])
        if most > {"speech": 100, "meeting": 10}[kind]:
            return as_json({"message": "(19006)maximumRecords", "details": []}, 400)
        if found and start > len(found):
            return as_json({"message": "(19004)startRecord"}, 400)
        shown = found[start - 1 : start - 1 + most]
        page = {"numberOfRecords": len(found), "numberOfReturn": len(shown), "startRecord": start}
        onward = start + len(shown)
        page["nextRecordPosition"] = onward if onward <= len(found) else None
        if shown:
            page["speechRecord" if kind == "speech" else "meetingRecord"] = shown
        return as_json(page)


def _meetings(records):
    by_issue = {}
    for record in records:
        by_issue.setdefault(record["issueID"], []).append(record)
    shared = ("issueID", "session", "nameOfHouse", "nameOfMeeting", "issue", "date", "meetingURL")
    for issue in by_issue.values():
        yield {key: issue[0][key] for key in shared} | {
            "speechRecord": [{key: value for key, value in one.items() if key not in shared} for one in issue]
        }


def xml(request, answer):
    """A fault: XML, as when recordPacking was not heeded."""
    return Answer(b'<?xml version="1.0"?><data><numberOfRecords>3</numberOfRecords></data>')


def busy(request, answer):
    """A fault: the API's own way of saying so."""
    return as_json({"message": "(19001)busy", "details": ["later"]}, 400)


def bad_request(request, answer):
    """A fault: HTTP 400 of some machine in between."""
    return Answer(b"Bad Request", 400)


def changed(**figures):
    """A fault: other figures in the reply."""

    def fault(request, answer):
        return as_json(json.loads(answer.body) | figures)

    return fault
