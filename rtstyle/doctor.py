"""Examine the machine: packages, engines, cameras, display and extras, and how to add what is missing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import rtstyle
from engines.base import Engine
from engines.errors import StylerError

PACKAGES = ("numpy", "opencv-python-headless", "av", "openvino", "pillow", "pygame-ce", "safetensors", "typer", "rich")
"""Distributions of the base install."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "onnx", "onnxscript", "pydantic"),
    "cuda": ("torch",),
    "tensorrt": ("torch_tensorrt", "tensorrt"),
    "rtx": ("torch_tensorrt", "tensorrt_rtx"),
    "cameras": ("cv2_enumerate_cameras",),
    "cluster": ("ray",),
    "heif": ("pillow_heif",),
    "microphone": ("sounddevice",),
    "midi": ("mido", "rtmidi"),
    "ndi": ("cyndilib",),
    "osc": ("pythonosc",),
    "screen": ("mss",),
    "spout": ("SpoutGL",),
    "syphon": ("syphon",),
    "virtual-camera": ("pyvirtualcam",),
    "web": ("aiohttp", "aiortc"),
}
"""Extra → modules that it installs."""

NVIDIA = ("cuda", "tensorrt", "rtx")
"""Extras that need a torch for CUDA."""

ONLY_ON = {
    "spout": ("win32",),
    "syphon": ("darwin",),
    "cameras": ("win32", "darwin"),
    **dict.fromkeys(NVIDIA, ("linux", "win32")),
}
"""Extra → the systems that have a use for it; Linux names cameras itself."""

FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"),
    *("asimd", "asimddp", "bf16"),  # ARM
)
"""Instruction sets that matter for the speed of a network."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        good: True if it works.
        hint: how to improve it; empty if there is nothing to improve.
    """

    topic: str
    good: bool
    found: str
    hint: str = ""


def examine(style: str) -> list[Finding]:
    """Examine everything, with this style to try the engines. Errors are reported, never raised."""
    parts: dict[str, Callable[[], list[Finding]]] = {
        "machine": _machine,
        "packages": _packages,
        "engine": lambda: _engines(style),
        "built engines": _built,
        "video encoders": _encoders,
        "cameras": _cameras,
        "display": _display,
        "extras": _extras,
    }
    findings = []
    for topic, part in parts.items():
        try:
            findings += part()
        except Exception as error:  # noqa: BLE001, broken installations are what this is for
            findings.append(Finding(topic, False, f"failed: {type(error).__name__}: {error}"))
    return findings


def cpu_name() -> str:
    """Return the name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_count() -> int:
    """Return how many processors this process may use; a container or taskset may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine() -> list[Finding]:
    present = _cpuinfo("flags", "Features").split()
    features = [feature for feature in FEATURES if feature in present]
    processor = f"{cpu_name()}, {cpu_count()} processors"
    return [
        Finding("rtstyle", True, f"{rtstyle.__version__} on Python {platform.python_version()}"),
        Finding("system", True, platform.platform(terse=True)),
        Finding("processor", True, processor + (f" ({' '.join(features)})" if features else "")),
        *_cards(),
    ]


def _cards() -> list[Finding]:
    """Report the NVIDIA cards, or why one cannot be used; nothing without one."""
    from engines.cuda import driver

    found = driver.driver()
    cards = [
        f"{number}: {card.name} ({card.capability[0]}.{card.capability[1]}{', used' if card is found.cards[0] else ''})"
        for number, card in driver.numbered_cards().items()
    ]
    if cards:
        return [Finding("NVIDIA", True, f"{', '.join(cards)}; driver for CUDA {found.cuda[0]}.{found.cuda[1]}")]
    why = driver.why_unavailable()
    return [Finding("NVIDIA", False, f"there is a card, and {why}", driver.NO_CARD)] if why else []


def _cpuinfo(*names: str) -> str:
    """Return the first value of one of these names; empty if there is none, or this is not Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def _packages() -> list[Finding]:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    findings = [Finding("packages", not missing, ", ".join(versions))]
    if missing:
        findings.append(Finding("missing", False, ", ".join(missing), hint=f"pip install {' '.join(missing)}"))
    return findings


def _engines(style: str) -> list[Finding]:
    """Try every engine, and report which one ``auto`` takes and what would be faster."""
    import engines
    from rtstyle.style_library import open_style

    try:
        model = open_style(style)
        folder = model.folder
    except StylerError as error:
        return [Finding("engine", False, error.problem, error.hint)]
    findings, working = [], []
    for name in engines.NAMES[1:]:  # the first is auto
        try:
            engine = engines.load(model, name)
            if name == "cuda":
                _prove(engine, folder)
        except StylerError as error:
            findings.append(Finding(f"engine {name}", False, error.problem, error.hint))
            continue
        info = engine.info
        engine.close()
        working.append(name)
        times = _cpu_times(folder) if name == "cpu" else ""
        findings.append(Finding(f"engine {name}", True, f"{info.runtime}, {info.precision}{times}, {info.device}"))
    chosen = next((name for name in engines.AUTO_ORDER if name in working), None)
    if chosen is None:
        hint = "pip install --force-reinstall openvino"
        return [*findings, Finding("engine auto", False, "no engine works here", hint)]
    reason = f"the first of {', '.join(engines.AUTO_ORDER)} that works here"
    if chosen == "cpu" and any(name in working for name in engines.INTEL_ENGINES):
        chosen = _fastest_processor(folder)
        reason = "the fastest when they were timed on this machine"
    if chosen == "tensorrt":
        reason += f"; until it is built for a frame size, cuda is used{_speedups(folder)}"
    return [*findings, Finding("engine auto", True, f"takes {chosen}: {reason}", _faster(findings, chosen))]


def _prove(engine: Engine, folder: Path) -> None:
    """Close an engine on an NVIDIA card and raise EngineError if ``auto`` would not take it."""
    from engines.cuda.proof import prove
    from engines.style_file import StyleModel

    try:
        prove(engine, StyleModel.open(folder))
    except StylerError:
        engine.close()
        raise


def _fastest_processor(folder: Path) -> str:
    from engines.openvino.precision import fastest_processor
    from engines.style_file import StyleModel

    return fastest_processor(StyleModel.open(folder))


def _cpu_times(folder: Path) -> str:
    """Say how long a frame takes in each arithmetic, as it was measured when one was chosen."""
    from engines.openvino.precision import SIZE, choose
    from engines.style_file import StyleModel

    times = choose(StyleModel.open(folder)).milliseconds
    each = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items())
    return f" ({each} a frame of {SIZE[1]}×{SIZE[0]})" if each else ""


def _speedups(folder: Path) -> str:
    from engines.style_file import StyleModel
    from engines.trt import background_build
    from engines.trt.plan_record import MIN_SPEEDUP

    try:
        speedups = background_build.speedups(StyleModel.open(folder))
    except StylerError:
        return ""
    lines = [
        f"{width}×{height} {speedup:.2f} ×{' (cuda stays)' if speedup < MIN_SPEEDUP else ''}"
        for (height, width), speedup in speedups.items()
    ]
    return f"; tensorrt against cuda: {', '.join(lines)}" if lines else ""


def _faster(findings: list[Finding], chosen: str) -> str:
    """Return what would make ``auto`` faster; empty without an NVIDIA card."""
    import engines
    from engines.cuda import driver

    order = engines.AUTO_ORDER
    better = {f"engine {name}" for name in order[: order.index(chosen if chosen in order else "cpu")]}
    hints = [finding.hint for finding in reversed(findings) if finding.topic in better and finding.hint]
    return f"faster: {hints[0]}" if hints and driver.device_count() else ""


def _built() -> list[Finding]:
    """Report the engines that TensorRT has built, if any."""
    from engines.trt.plan_cache import PlanCache

    cache = PlanCache()
    entries = cache.entries()
    if not entries:
        return []
    faults = sum(1 for entry in entries if entry.fault)
    found = f"{len(entries) - faults} in {cache.folder}" + (f", {faults} could not be built" if faults else "")
    return [Finding("built engines", not faults, found, "rtstyle engine list" if faults else "")]


def _encoders() -> list[Finding]:
    """Report which encoders in hardware work."""
    from rtstyle.media.codecs import CODECS
    from rtstyle.media.hardware import working

    found = working()
    here = f"in hardware: {', '.join(found)} (--encoder auto)" if found else "in hardware: none works here"
    return [Finding("video encoders", True, f"{', '.join(CODECS)} in software; {here}")]


def _cameras() -> list[Finding]:
    from engines.install_hint import pip_install
    from rtstyle.sinks.virtual_camera import HINTS
    from rtstyle.sources.camera_discovery import list_cameras, names_are_known

    if not names_are_known():
        return [Finding("cameras", True, "this system does not list them", hint=f"names: {pip_install('cameras')}")]
    cameras = list_cameras()
    real = [camera for camera in cameras if not camera.virtual]
    virtual = [camera for camera in cameras if camera.virtual]
    if real:
        findings = [Finding("cameras", True, f"{', '.join(map(str, real))}; `rtstyle devices` says more")]
    else:
        findings = [Finding("cameras", False, "none", hint="rtstyle webcam --source pattern works without one")]
    if virtual:
        findings.append(Finding("virtual camera", True, ", ".join(f"{c.path or c.index} ({c.name})" for c in virtual)))
    elif util.find_spec("pyvirtualcam") is not None:
        findings.append(Finding("virtual camera", False, "no driver is loaded", HINTS.get(sys.platform, "")))
    return findings


def _display() -> list[Finding]:
    from rtstyle.sinks.window import start_display

    try:
        pygame = start_display()
    except StylerError as error:
        return [Finding("display", False, error.problem, error.hint)]
    sizes = ", ".join(f"{width}×{height}" for width, height in pygame.display.get_desktop_sizes())
    driver = pygame.display.get_driver()
    pygame.display.quit()
    return [Finding("display", True, f"{sizes} ({driver})")]


def _extras() -> list[Finding]:
    from engines.install_hint import pip_install

    findings = []
    for extra, modules in EXTRAS.items():
        if sys.platform not in ONLY_ON.get(extra, (sys.platform,)):
            continue
        present = all(util.find_spec(module) is not None for module in modules)
        found, hint = ("installed", "") if present else ("not installed", pip_install(extra))
        if extra in NVIDIA:
            found, hint = _for_nvidia(extra, present)
        findings.append(Finding(f"extra {extra}", not hint, found, hint))
    return findings


def _for_nvidia(extra: str, present: bool) -> tuple[str, str]:
    """Say whether an extra for NVIDIA cards is installed, with a torch for CUDA, and what to do; no torch is loaded."""
    from engines.cuda.torch_build import add_packages, torch_build, torch_for_cuda

    if not present:
        return "not installed", add_packages(extra)
    build = torch_build()
    if build is None or build.cuda is None:
        return f"torch {build.version if build else ''} is a CPU build", torch_for_cuda(extra)
    return f"installed, torch {build.version} for CUDA {build.cuda}", ""
