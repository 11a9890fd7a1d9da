"""The real machine's networking, in a network namespace of its own: what the kernel takes, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from agent.network import rules
from agent.network.memory_rules import MemoryTable
from agent.network.model import Rules
from agent.network.nftables import LIBRARY

pytestmark = pytest.mark.docker

LOAD = """
import asyncio, json, random, sys
from agent.network.machine import LinuxMachine
from agent.network.nftables import Nftables
from schemas.errors import EngineError

async def main(library, texts):
    machine, said = LinuxMachine(random.Random(1)), []
    if library:
        machine._nft = Nftables(machine._nft._program, library)
    assert not await machine.has_rules()
    for text in texts:
        try:
            await machine.rules(text)
        except EngineError as error:
            said.append(str(error))
    assert await machine.has_rules()
    _, listed = await machine._run("nft", "-j", "list", "table", "ip", "dockmesh")
    await machine.clear()
    assert not await machine.has_rules()
    await machine.rules(texts[0])
    assert await machine.has_rules(), "closed, it opens again"
    print(json.dumps([json.loads(listed), said]))

asyncio.run(main(*json.load(sys.stdin)))
"""
SMALL = Rules(
    services={("br-m1000", "10.200.224.1"): ("10.200.1.2", "10.200.2.2")},
    ports={("tcp", 8080): (("10.200.1.2", 80),), ("udp", 53): (("10.200.1.2", 53),)},
    local=frozenset({"10.200.1.2"}),
    own=frozenset({"10.200.1.2"}),
    subnets=frozenset({("br-m1000", "10.200.0.0/16")}),
    virtual=frozenset({"10.200.224.0/19"}),
)
LESS = Rules(
    services={("br-m1000", "10.200.224.1"): ("10.200.2.2",)},
    subnets=SMALL.subnets,
    virtual=SMALL.virtual,
)
WRONG = rules.change(SMALL, LESS)  # what it takes away is gone by then


@pytest.mark.parametrize("library", ["", "libnothing.so"], ids=["by the library", "by the program"])
def test_the_kernel_holds_what_the_table_in_memory_holds(library: str) -> None:
    texts = [rules.whole(SMALL), rules.change(SMALL, LESS), rules.change(LESS, SMALL), rules.change(SMALL, LESS)]
    listed, said = loaded(library, [*texts, WRONG])
    held = MemoryTable()
    for text in texts:
        held.load(text)
    found = {each["map"]["name"]: each["map"].get("elem", []) for each in listed["nftables"] if "map" in each}
    assert {name: len(elements) for name, elements in found.items() if elements} == {
        name: len(elements) for name, elements in held.maps.items() if elements and name in found
    }
    ((key, to),) = found["backends"]
    assert key["concat"] == ["10.200.224.1", 0]
    assert to == "10.200.2.2"
    assert len(said) == 1, said
    assert "nft: " in said[0], said
    assert "No such file or directory" in said[0], said


WATCH = """
import asyncio, json, random, sys
from agent.network import monitor
from agent.network.machine import LinuxMachine
monitor.ASK_EVERY = 0.05

async def main(whole, done):
    machine, told, found = LinuxMachine(random.Random(1)), [], {}
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(machine.watch(told.append))
        await asyncio.sleep(0.3)
        await machine.rules(whole)
        await machine.guard()
        found["own"] = await machine.has_rules()
        await asyncio.sleep(0.3)
        for what in ["own doing", *done]:
            if what != "own doing":
                code, said = await machine._run("sh", "-c", what)
                assert not code, said
                await asyncio.sleep(0.3)
            found[what] = sorted(set(told))
            told.clear()
        found["others"] = await machine.has_rules()
        watching.cancel()
    print(json.dumps(found))

asyncio.run(main(*json.load(sys.stdin)))
"""


def test_the_machine_tells_what_others_change_and_not_what_it_does_itself() -> None:
    wanted = {
        "ip link add veth1 type veth peer name veth2": [],
        "ip link add br7 type bridge": ["links"],
        "ip address add 10.1.1.1/24 dev br7": ["addresses", "links"],
        "ip link set br7 mtu 1400": ["links"],
        "nft list ruleset": [],
        "iptables -I FORWARD 1 -j ACCEPT": ["rules"],
        "nft flush chain ip dockmesh prerouting": ["rules"],
    }
    found = run(WATCH, [rules.whole(SMALL), list(wanted)])
    assert found.pop("own") is True
    assert found.pop("others") is False, "one of its rules is gone"
    assert found == {"own doing": [], **wanted}


MANY = """
import asyncio, json, random
from agent.network.machine import LinuxMachine

async def main():
    machine = LinuxMachine(random.Random(1))
    found = await asyncio.gather(*(machine.routes() for _ in range(20)), machine.examine(), return_exceptions=True)
    cut = asyncio.get_running_loop().create_task(machine.routes())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cut.cancel()
    found += await asyncio.gather(machine.routes(), cut, return_exceptions=True)
    print(json.dumps([str(each) for each in found if isinstance(each, Exception)]))

asyncio.run(main())
"""


def test_many_questions_at_once_and_one_that_is_given_up_are_answered() -> None:
    assert run(MANY, None) == []


def test_the_library_is_what_nft_is_made_of_and_is_found() -> None:
    done = subprocess.run(["ldd", "/usr/sbin/nft"], capture_output=True, text=True, check=True)
    assert LIBRARY in done.stdout


def loaded(library: str, texts: list[str]) -> tuple[Any, list[str]]:
    """What stands after these texts, and what was said of those that were refused."""
    listed, said = run(LOAD, [library, texts])
    return listed, said


def run(script: str, given: Any) -> Any:
    """What a script says within a network namespace of its own."""
    argv = ["unshare", "-n", sys.executable, "-c", script]
    done = subprocess.run(argv, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


GUARD = """
import asyncio, json, subprocess, sys
from agent.network.firewall import Firewall

async def main(lacking):
    asked = []

    async def run(*command):
        asked.append(command)
        if lacking and lacking in command:
            return 1, "Couldn't load match"
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()

    async def listed():
        return (await run("iptables", "-S"))[1].splitlines()

    firewall, found = Firewall(run), []
    before = await listed()
    found.append([await firewall.guard(), await firewall.is_first(), await firewall.guard()])
    await run("iptables", "-I", "FORWARD", "1", "-j", "ACCEPT")
    await run("iptables", "-N", "DOCKER-USER")
    found.append([await firewall.is_first(), await firewall.guard(), await firewall.is_first(), await firewall.guard()])
    asked.clear()
    await Firewall(run).guard()
    assert ("iptables", "-w", "-F", "DOCKMESH") not in asked, "another agent's start empties nothing"
    if not lacking:
        await run("iptables", "-D", "DOCKMESH", "1")
        assert not await Firewall(run).guard()
        assert ("iptables", "-w", "-F", "DOCKMESH") not in asked, "an agent of before left two rules"
    found.append([line for line in await listed() if "DOCKMESH" in line])
    await run("iptables", "-D", "FORWARD", "-j", "ACCEPT")
    await firewall.clear()
    await run("iptables", "-X", "DOCKER-USER")
    print(json.dumps([*found, await listed() == before]))

asyncio.run(main(*json.load(sys.stdin)))
"""


@pytest.mark.parametrize("lacking", ["", "physdev"])
def test_the_chain_stands_first_whatever_others_put_before_it_and_goes_without_a_trace(lacking: str) -> None:
    first, pushed, lines, clean = run(GUARD, [lacking])
    assert first == [False, True, True], "nothing, put in place, there"
    assert pushed == [False, False, True, True]
    assert clean is True
    jumps = ["-A FORWARD -j DOCKMESH", "-A DOCKER-USER -j DOCKMESH"]
    assert sorted(line for line in lines if "-j DOCKMESH" in line) == sorted(jumps)
    rules_inside = [line for line in lines if line.startswith("-A DOCKMESH ")]
    assert len(rules_inside) == (2 if lacking else 3)
    assert lacking or "--physdev-is-bridged" in rules_inside[0]
