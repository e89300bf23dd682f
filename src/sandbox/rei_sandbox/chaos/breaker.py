"""Carries out the plan's steps. What is killed is started again at once, as Kubernetes would."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rei_sandbox.chaos.plan import Step
from rei_sandbox.chaos.proxy import Cut, PostgresProxy
from rei_sandbox.programs import Program
from rei_sandbox.services import ServiceError
from rei_sandbox.stage import Stage

LEASE_SECONDS: Final = 5.0
MONEY: Final = frozenset({"transfers"})
"""Cuts at a COMMIT hit where money moves: an order, its end, a credit."""
STARTS_MAX: Final = 10
FREEZE_SECONDS: Final = LEASE_SECONDS + 3.0


def start_patiently(program: Program) -> None:
    """Start it, again if need be: with the database away a process says so and ends.

    Kubernetes does the same; a process that never comes up raises `ServiceError` in the end.
    """
    for _ in range(STARTS_MAX - 1):
        try:
            program.start()
        except ServiceError:
            continue
        return
    program.start()


class Breaker:
    """Breaks things, one at a time for each process."""

    def __init__(
        self, *, stage: Stage, proxy: PostgresProxy, http: httpx.AsyncClient, rng: random.Random
    ) -> None:
        self.done: Counter[str] = Counter()
        self.died = 0
        self._stage = stage
        self._proxy = proxy
        self._http = http
        self._rng = rng
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One thing at a time for each process."""
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, step: Step) -> None:
        """Carry out a step in the background; the run goes on around it."""
        task = asyncio.create_task(self._carry_out(step), name=step.kind)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what is under way; raises the first failure (something did not start again)."""
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _carry_out(self, step: Step) -> None:
        match step.kind:
            case "lose answer":
                self._proxy.order(Cut("lost_answer", MONEY))
            case "lose statement":
                self._proxy.order(Cut("lost_statement", MONEY))
            case "gemini" | "telegram" | "yookassa" | "notification":
                service = "yookassa" if step.kind == "notification" else step.kind
                await self._order(service, step.fault)
            case _now:
                await self._break_now(step)
                self.done[step.kind] += 1  # the others are counted when they happen

    async def _break_now(self, step: Step) -> None:
        stage = self._stage
        match step.kind:
            case "kill bot":
                await self._kill(self._rng.choice(stage.bots))
            case "kill worker":
                await self._kill(self._rng.choice(stage.workers))
            case "freeze worker":
                await self._freeze(self._rng.choice(stage.workers))
            case "kill postgres":
                await self._again("postgres", stage.postgres.kill, stage.postgres.start)
            case "kill redis":
                await self._again("redis", stage.redis.kill, stage.redis.start)
            case "flush redis":
                await self._flush()
            case "cut all":
                self._proxy.cut_now()

    async def happened(self) -> Counter[str]:
        """Everything that has really happened; what was ordered and found no victim is dropped."""
        self._proxy.drop_waiting()
        taken = (await self._http.get("/_sandbox/faults")).json()["taken"]
        await self._http.delete("/_sandbox/faults")
        return self.done + Counter(self._proxy.made) + Counter(taken)

    async def revive(self) -> None:
        """Start again what died by itself, which is counted: nothing may."""
        for program in self._stage.programs:
            if program.pid is None and not self._locks[program.name].locked():
                self.died += 1
                await self._kill(program)

    async def _kill(self, program: Program) -> None:
        await self._again(program.name, program.kill, lambda: start_patiently(program))

    async def _again(
        self, name: str, kill: Callable[[], object], start: Callable[[], object]
    ) -> None:
        async with self._locks[name]:
            await asyncio.to_thread(kill)
            await asyncio.to_thread(start)

    async def _freeze(self, program: Program) -> None:
        async with self._locks[program.name]:
            program.freeze()
            await asyncio.sleep(FREEZE_SECONDS)
            program.thaw()

    async def _flush(self) -> None:
        try:
            async with Redis.from_url(self._stage.redis.url, socket_timeout=5) as redis:
                await redis.flushall()
        except (RedisError, OSError):
            return  # it is dead at the moment, and as empty as it gets

    async def _order(self, service: str, fault: tuple[str, str, float]) -> None:
        kind, operation, delay = fault
        body = {
            "service": service, "kind": kind, "operation": operation, "delay_seconds": delay,
        }  # fmt: skip
        (await self._http.post("/_sandbox/faults", json=body)).raise_for_status()
