"""Recipes: what they say, what overrides them, and every fault told at once."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from engines.errors import ConfigError, SettingsError
from rtstyle.style_library import installed
from tests.train.trained import recorded
from train.config.recipe import GIVEN, RECIPES, load_recipe, recipes, resolve, to_toml
from train.config.schema import KINDS, TrainConfig

PLACES: dict[str, Any] = {
    "data.style_picture": Path("painting.jpg"),
    "data.content": Path("photos"),
    "run.out": Path("run"),
}


def made(recipe: str | Path, *overrides: str, **flags: Any) -> TrainConfig:
    """A recipe for a painting, with overrides, and flags written section__name."""
    return resolve(recipe, overrides, PLACES | {name.replace("__", "."): value for name, value in flags.items()})


def written(folder: Path, text: str) -> Path:
    """A recipe in a file."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def unnamed(config: TrainConfig) -> TrainConfig:
    """The same, whichever recipe it is from."""
    return replace(config, run=replace(config.run, recipe=None))


def faults(recipe: str | Path, *overrides: str, **flags: Any) -> ConfigError:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        made(recipe, *overrides, **flags)
    return caught.value


class TestOurs:
    def test_quickest_first_each_with_a_line(self) -> None:
        assert list(recipes()) == ["quick", "fast", "default", "best"]
        assert all(line.endswith(".") and not line.startswith("#") for line in recipes().values())

    @pytest.mark.parametrize("name", list(recipes()))
    def test_each_makes_a_run(self, name: str) -> None:
        config = made(name)
        assert config.to_dict()["run"]["recipe"] == name
        assert config.motion.source == "synthetic" and config.losses.adversarial == 0

    def test_fast_is_an_hour_at_the_defaults(self) -> None:
        config = made("fast")
        assert (config.schedule.minutes, config.data.batch, config.data.crop) == (60, 4, 192)
        assert config.losses == type(config.losses)()

    def test_default_ends_within_ten_minutes(self) -> None:
        config = made("default")
        assert config.schedule.minutes is not None and config.schedule.minutes < 10
        assert (config.data.batch, config.data.crop) == (16, 256)

    @pytest.mark.parametrize("name", list(recipes()))
    def test_all_train_the_same_generator(self, name: str) -> None:
        """A better recipe must not cost frames."""
        assert made(name).generator.arch == made("fast").generator.arch

    @pytest.mark.parametrize("name", list(recipes()))
    def test_what_is_given_is_used(self, name: str) -> None:
        plain, started = made(name), made(name, generator__init=Path("style"))
        full = made(name, data__clips=Path("clips"), data__style_pictures=Path("works"))
        assert full.motion.source == "both"
        assert full.losses.adversarial > 0 and full.losses.feature_matching > 0
        assert plain.schedule.minutes is not None and started.schedule.minutes is not None
        assert name == "quick" or started.schedule.minutes <= plain.schedule.minutes / 2  # it has a start of its own

    @pytest.mark.parametrize("name", list(recipes()))
    def test_what_is_shown_is_the_run(self, name: str, tmp_path: Path) -> None:
        config = made(name, "run.name='a \"b\" \\ é'", data__clips=Path("clips"))
        assert unnamed(resolve(written(tmp_path, to_toml(config)))) == unnamed(config)

    def test_they_are_in_the_package(self) -> None:
        """The wheel takes every file below the packages that no ignore pattern names."""
        project = tomllib.loads((RECIPES.parents[1] / "pyproject.toml").read_text("utf-8"))
        assert RECIPES.parent.name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        assert "toml" not in (RECIPES.parents[1] / ".gitignore").read_text("utf-8")


class TestOrder:
    def test_flags_override_overrides_override_the_recipe(self) -> None:
        assert made("fast").losses.style == 5
        assert made("fast", "losses.style=12").losses.style == 12
        assert made("fast", "losses.style=12", losses__style=14.0).losses.style == 14

    def test_the_last_override_counts(self) -> None:
        assert made("fast", "data.crop=64", "data.crop=128").data.crop == 128

    def test_overrides_beat_what_the_recipe_wants_where_clips_are_given(self) -> None:
        config = made("fast", "motion.source=clips", "data.clips=street")
        assert (config.motion.source, config.data.clips) == ("clips", Path("street"))

    def test_a_flag_that_is_not_given_is_nothing(self) -> None:
        assert made("fast", "data.batch=3", data__batch=None).data.batch == 3

    def test_steps_end_the_counting_of_minutes(self) -> None:
        for config in (made("fast", "schedule.steps=7"), made("fast", schedule__steps=7)):
            assert (config.schedule.steps, config.schedule.minutes) == (7, None)
        assert made("fast", "schedule.minutes=2", schedule__steps=7).schedule.minutes is None
        assert made("fast", schedule__steps=7, schedule__minutes=2.0).schedule.minutes == 2
        assert made("fast", "schedule.steps=7", schedule__minutes=2.0).schedule.minutes == 2


class TestSaved:
    """What --show printed, as a recipe."""

    @pytest.mark.parametrize("later", [{}, {"data__clips": Path("clips")}, {"data__style_pictures": Path("works")},
                                       {"generator__init": Path("style")}, {"schedule__steps": 9}])  # fmt: skip
    @pytest.mark.parametrize("before", [[], ["data.clips=street"], ["motion.source=none"], ["schedule.steps=7"],
                                        ["losses.adversarial=0.5", "data.style_pictures=monet"],
                                        ["data.clips=street", "motion.source=none"]])  # fmt: skip
    def test_it_behaves_as_the_original(self, tmp_path: Path, before: list[str], later: dict[str, Any]) -> None:
        saved = written(tmp_path, to_toml(made("best", *before)))
        assert unnamed(made(saved, **later)) == unnamed(made("best", *before, **later))

    def test_so_does_what_was_saved_from_it(self, tmp_path: Path) -> None:
        once = to_toml(made("fast", "losses.style=12"))
        assert to_toml(made(written(tmp_path, once))) == once.replace("recipe fast.", "recipe mine.toml.")

    def test_it_has_its_own_name(self, tmp_path: Path) -> None:
        saved = made(written(tmp_path, to_toml(made("fast"))))
        assert saved.to_dict()["run"]["recipe"] == "mine.toml"
        copied = (tmp_path / "fast.toml", (RECIPES / "fast.toml").read_text("utf-8"))
        copied[0].write_text(copied[1], "utf-8")
        assert made(copied[0]).to_dict()["run"]["recipe"] == "fast.toml"

    def test_settings_without_a_recipe_are_shown(self, tmp_path: Path) -> None:
        config = made("fast")
        text = to_toml(replace(config, run=replace(config.run, recipe=None)))
        assert "given" not in text and unnamed(made(written(tmp_path, text))) == unnamed(config)


class TestValues:
    @pytest.mark.parametrize(
        ("text", "section", "name", "value"),
        [
            ("losses.style = 12", "losses", "style", 12.0),
            ("schedule.learning_rate=1e-3", "schedule", "learning_rate", 1e-3),
            ("discriminator.augment=false", "discriminator", "augment", False),
            ("discriminator.loss=wgan-gp", "discriminator", "loss", "wgan-gp"),
            ('discriminator.loss="hinge"', "discriminator", "loss", "hinge"),
            ("run.name=2026", "run", "name", "2026"),
            ("run.name=a=b", "run", "name", "a=b"),
            ("run.name='x'", "run", "name", "x"),
            ("data.content=2026-01-01", "data", "content", Path("2026-01-01")),
            ("data.content=~/photos", "data", "content", Path.home() / "photos"),
            ("schedule.minutes=none", "schedule", "minutes", None),
            ("schedule.minutes=3", "schedule", "minutes", 3.0),
            ("generator.init=none", "generator", "init", None),
        ],
    )
    def test_a_value_is_read_as_its_setting_needs(self, text: str, section: str, name: str, value: object) -> None:
        flags = {key: given for key, given in PLACES.items() if not text.startswith(key)}
        found = getattr(getattr(resolve("fast", [text], flags), section), name)
        assert found == value and type(found) is type(value)

    def test_a_whole_number_is_a_number(self, tmp_path: Path) -> None:
        style = made(written(tmp_path, "[losses]\nstyle = 12")).losses.style
        assert type(style) is float

    @pytest.mark.parametrize(
        "text",
        ["data.batch=2.0", "data.batch=true", "data.batch=two", "data.batch=", "losses.style=true", "losses.style=1,5",
         "losses.style=[1]", "losses.style=1\nx=2", f"losses.style={10**400}", "discriminator.augment=1",
         "discriminator.loss=3", "data.content=''", "data.content={a=1}x\n", f"losses.style={'[' * 5000}"],
    )  # fmt: skip
    def test_another_type_is_told(self, text: str) -> None:
        name = text.partition("=")[0]
        if text.startswith("data.content={"):  # a strange name of a folder, but one
            return
        flags = {key: value for key, value in PLACES.items() if key != name}
        with pytest.raises(ConfigError, match=rf"{name} must be "):
            resolve("fast", [text], flags)


class TestFaults:
    def test_of_recipe_overrides_and_flags_are_told_together(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            """
            style = 12
            run = "fast"
            [loses]
            style = 12.0
            [losses]
            stile = 1.0
            noise = -1.0
            [data]
            crop = "large"
            [given.clip.motion]
            source = "both"
            [given.init.schedule]
            minutes = "few"
            """,
        )
        error = faults(path, "motion.souce=both", "nonsense", "motion.source=clips", data__batch=0)
        for words in (
            "unknown setting style", "run must be a section", "unknown section [loses]", "unknown setting losses.stile",
            "mine.toml: losses.noise must be at least 0", "data.crop must be a whole number, got 'large'",
            "[given.clip]", "schedule.minutes must be a number", "unknown setting motion.souce",
            "'nonsense' has no value", "motion.source 'clips' needs data.clips", "data.batch must be at least 1",
        ):  # fmt: skip
            assert words in error.problem
        for words in ("did you mean losses.style?", "did you mean losses?", "did you mean motion.source?",
                      "did you mean given.clips?"):  # fmt: skip
            assert words in error.hint

    def test_of_overrides_alone_are_told_together(self) -> None:
        problem = faults("fast", "losses.stile=1", "crop", "data.batch=2").problem
        assert "losses.stile" in problem and "'crop'" in problem

    def test_a_setting_in_the_wrong_section_is_found(self) -> None:
        assert "schedule.minutes" in faults("fast", "run.minutes=3").hint

    def test_where_nothing_is_near_all_are_listed(self) -> None:
        assert "shift" in faults("fast", "motion.xyzzy=1").hint
        assert "discriminator" in faults("fast", "xyzzy.plugh=1").hint

    def test_what_is_missing_is_told_with_its_option(self) -> None:
        with pytest.raises(ConfigError) as caught:
            resolve("fast", options={"data.content": "--content"})
        for words in ("--content is missing", "run.out is missing", "data.style_picture or"):
            assert words in caught.value.problem

    def test_an_unfinished_recipe_leaves_its_places_open(self, tmp_path: Path) -> None:
        text = to_toml(resolve("fast", unfinished=True))
        assert "\n# content\n" in text and "\n# out\n" in text and "\n# style_picture\n" in text
        assert unnamed(made(written(tmp_path, text))) == unnamed(made("fast"))

    def test_each_has_its_own_hint_and_the_name_of_the_recipe(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[losses]\nstile = 1.0\n[data]\nbatch = 0\ncrop = 65")
        with pytest.raises(SettingsError) as caught:
            made(path, "motion.souce=both", data__crop=66)
        assert [(fault.problem, fault.hint) for fault in caught.value.errors] == [
            ("mine.toml: unknown setting losses.stile", "did you mean losses.style?"),
            ("unknown setting motion.souce", "did you mean motion.source?"),
            ("mine.toml: data.batch must be at least 1, got 0", ""),
            ("data.crop must be a multiple of 8, got 66", ""),
        ]

    def test_what_an_option_gives_is_named_by_it(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[data]\nbatch = 0")
        options = {"data.batch": "--batch", "data.crop": "--crop", "data.content": "--content", "data.clips": "--clips"}
        for overrides, flags, expected in (
            ((), {"data.batch": 0}, "--batch must be at least 1, got 0"),
            (("data.batch=-1",), {}, "data.batch must be at least 1, got -1"),
            ((), {}, "mine.toml: data.batch must be at least 1, got 0"),
        ):
            with pytest.raises(SettingsError) as caught:
                resolve(path, (*overrides, "motion.source=clips"), flags, options=options)
            problems = [fault.problem for fault in caught.value.errors]
            assert expected in problems and "--content is missing" in problems
            assert "motion.source 'clips' needs --clips, a folder of clips" in problems

    def test_a_recipe_may_hold_the_places(self, tmp_path: Path) -> None:
        path = written(tmp_path, '[data]\ncontent = "photos"\nstyle_pictures = "monet"\n[run]\nout = "run"')
        assert resolve(path).data.style_pictures == Path("monet")

    def test_what_applies_only_if_something_is_given_is_checked_anyway_and_told_once(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[given.clips.motion]\ngap = 99\nsource = 'clips'")
        for clips in (None, Path("clips")):
            assert faults(path, data__clips=clips).problem == "mine.toml: motion.gap must be at most 16, got 99"

    def test_no_recipe(self, tmp_path: Path) -> None:
        assert "did you mean fast?" in faults("fats").hint
        assert "fast, default, best" in faults("xyzzy").hint
        assert "cannot read" in faults(tmp_path).problem

    @pytest.mark.parametrize("content", [b"[losses\nstyle=1", b"\x80\x81", b"a = " + b"[" * 5000, b"x\x00=1"])
    def test_no_toml(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "mine.toml"
        path.write_bytes(content)
        error = faults(path, "losses.stile=1")
        assert "is not valid TOML" in error.problem and "losses.stile" in error.problem
        with pytest.raises(ConfigError, match="is not valid TOML"):
            load_recipe(path)

    def test_a_byte_order_mark_is_no_fault(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_bytes(b"\xef\xbb\xbf[losses]\r\nstyle = 3\r\n")
        assert made(path).losses.style == 3

    @pytest.mark.parametrize("text", ["given = 1", "[given]\nclips = 1", "[given.clips]\nmotion = 1"])
    def test_what_is_given_must_be_sections(self, tmp_path: Path, text: str) -> None:
        assert "section" in faults(written(tmp_path, text)).problem


class TestStyle:
    """A trained style as a recipe."""

    @pytest.fixture
    def trained(self, tiny_style: Path, tmp_path: Path) -> Path:
        settings = made("fast", losses__style=7.0, run__seed=5, schedule__minutes=3, data__style_size=300).to_dict()
        recorded(tiny_style, tmp_path / "mine", {"settings": settings, "steps_done": 321})
        return tmp_path / "mine"

    def test_all_settings_and_as_many_steps(self, trained: Path) -> None:
        config = made(str(trained), data__features=Path("features"))
        assert (config.losses.style, config.data.style_size, config.run.seed) == (7.0, 300, 5)
        assert (config.schedule.steps, config.schedule.minutes) == (321, None)
        assert config.run.out == PLACES["run.out"] and config.data.content == PLACES["data.content"]
        assert made(str(trained), "losses.style=8").losses.style == 8

    def test_places_are_not_those_of_the_first_run(self, trained: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            resolve(str(trained), (), {"run.out": Path("run")})
        assert "data.content is missing" in str(caught.value) and "style_picture" in str(caught.value)

    def test_those_of_rtstyle_have_a_record(self) -> None:
        for style in installed():
            config = made(style.name)
            assert (config.run.name, config.schedule.minutes) == (style.name, None)

    def test_no_record(self, tiny_style: Path) -> None:
        assert "no training record" in faults(tiny_style).problem


def test_every_kind_of_setting_can_be_read() -> None:
    """A new field of another type would need a word in the error."""
    for kind in KINDS.values():
        plain = {option for option in get_args(kind) if option is not type(None)} or {kind}
        assert plain <= {int, float, bool, str, Path} or all(isinstance(word, str) for word in plain)
    assert set(GIVEN.values()) <= KINDS.keys()
