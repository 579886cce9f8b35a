from __future__ import annotations

import pytest

from meden._checks import InputError
from meden.language import language

SET = [
    ({}, "en"),
    ({"LANG": "zh_CN.UTF-8"}, "zh"),
    ({"LANG": "zh_TW.UTF-8"}, "zh"),  # simplified is better than English
    ({"LANG": "zh_CN.GBK"}, "en"),  # a terminal of another encoding cannot show what is written in UTF-8
    ({"LANG": "C.UTF-8"}, "en"),
    ({"LANG": "POSIX"}, "en"),
    ({"LANG": "de_DE.UTF-8"}, "en"),
    ({"LANG": "zhuang"}, "en"),
    ({"LANG": "zh_CN.utf8", "LC_ALL": "C"}, "en"),
    ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
    ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
    ({"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}, "zh"),
    ({"LANG": "zh_CN.UTF-8", "MEDEN_LANG": "en"}, "en"),
    ({"LANG": "zh_CN.UTF-8", "MEDEN_LANG": ""}, "zh"),
    ({"LC_ALL": "C", "MEDEN_LANG": "zh"}, "zh"),
    ({"MEDEN_LANG": "zh_CN"}, "zh"),
    ({"MEDEN_LANG": "zh-CN.UTF-8"}, "zh"),
    ({"MEDEN_LANG": "ZH_hans_CN.utf-8@x"}, "zh"),
    ({"MEDEN_LANG": "en_US"}, "en"),
]


@pytest.mark.parametrize(("variables", "expected"), SET)
def test_language_of_an_environment(no_locale, variables, expected) -> None:
    for name, value in variables.items():
        no_locale.setenv(name, value)
    assert language() == expected


@pytest.mark.parametrize("value", ["de", "C", "zhong", "english", "1", " "])
def test_another_language_is_refused(no_locale, value) -> None:
    no_locale.setenv("MEDEN_LANG", value)
    with pytest.raises(InputError, match=r"^MEDEN_LANG must be en or zh, .*, got ") as refused:
        language()
    assert repr(value) in str(refused.value)


def test_commands_refuse_another_language_in_one_line(no_locale, meden) -> None:
    no_locale.setenv("MEDEN_LANG", "klingon")
    for arguments in (["--help"], ["tune", "iris"], []):
        ended = meden(*arguments)
        assert ended.status == 2
        assert ended.out == ""
        assert ended.err.startswith("error: MEDEN_LANG must be en or zh")
        assert ended.err.count("\n") == 1
