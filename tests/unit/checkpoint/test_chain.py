"""The chain and what a round proposes, against a plain model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.api.wire import RestoreOrder, RestorePolicy
from holdfast.checkpoint import layout
from holdfast.checkpoint.chain import Chain
from holdfast.checkpoint.manifests import OK, CommitRef, Manifest, Plan, Run, Verdict, encode
from holdfast.checkpoint.rounds import choose
from holdfast.checkpoint.survey import Survey
from tests.support.bucket import Bucket, MemoryStore
from tests.support.gang import CREATED, config

PARTS = 2


@dataclass
class Model:
    """One run as it was lived: what it agreed on, and what it committed. `agreed` False: nobody ever trained."""

    agreed: bool
    parent: CommitRef | None
    commits: list[int] = field(default_factory=list)
    vetoed: bool = False


@st.composite
def histories(draw: st.DrawFn) -> list[Model]:
    """Lives as they can be: each run goes on from any commit of the chain before it, or from nothing."""
    runs: list[Model] = []
    for _ in range(draw(st.integers(1, 7))):
        agreed = draw(st.booleans()) or not runs
        chain = expected(runs)
        parent = draw(st.sampled_from([None, *chain])) if chain else None
        first = parent.step + 1 if parent else 1
        steps = draw(st.lists(st.integers(first, first + 50), unique=True, max_size=4)) if agreed else []
        runs.append(Model(agreed, parent, sorted(steps), vetoed=draw(st.booleans())))
    return runs


def expected(runs: list[Model]) -> list[CommitRef]:
    """The chain by the definition alone, newest first."""
    found: list[CommitRef] = []
    number, limit = len(runs), 10**9
    while number > 0:
        run = runs[number - 1]
        if not run.agreed:
            number -= 1
            continue
        found += [CommitRef(run=number, step=step) for step in sorted(run.commits, reverse=True) if step <= limit]
        if run.parent is None:
            break
        number, limit = run.parent.run, run.parent.step
    return found


def written(runs: list[Model]) -> Bucket:
    """The bucket that such lives leave."""
    bucket = Bucket()

    def put(name: str, document: Manifest) -> None:
        bucket.write(name, encode(document), 0)

    for number, run in enumerate(runs, 1):
        document = Run(
            namespace="team",
            job="digits",
            job_uid="u",
            job_created=CREATED,
            attempt=number,
            layout="PerHost",
            parts=PARTS,
        )
        put(layout.run_manifest(number), document)
        round_ = 1
        if run.vetoed:
            put(layout.plan(number, 1), Plan(kind="Commit", commit=CommitRef(run=1, step=999)))
            put(layout.verdict(number, 1, "0-0"), Verdict(verdict="Veto", object="x", problem="y"))
            bucket.write(layout.verdict(number, 1, "0-1"), OK, 0)
            round_ = 2
        kind: Literal["Commit", "Fresh"] = "Commit" if run.parent else "Fresh"
        put(layout.plan(number, round_), Plan(kind=kind, commit=run.parent))
        for host in range(PARTS if run.agreed else PARTS - 1):
            bucket.write(layout.verdict(number, round_, f"0-{host}"), OK, 0)
        for step in run.commits:
            bucket.write(layout.commit(number, step), b"{}", 0)
            bucket.write(layout.part(number, step, "0-0"), b"{}", 0)
    return bucket


@settings(max_examples=300, deadline=None)
@given(runs=histories())
async def test_the_chain_is_what_the_agreed_rounds_say(runs: list[Model]) -> None:
    chain = Chain(Survey(MemoryStore(written(runs))), len(runs))
    commits = [ref async for ref in chain.commits()]
    assert commits == expected(runs)
    for step in {ref.step for ref in commits} | {0}:
        assert await chain.find(step) == next((ref for ref in commits if ref.step == step), None)
    head = await chain.head()
    newest = next((run for run in reversed(runs) if run.agreed), None)
    if newest is None:
        assert head is None
    else:
        assert head is not None
        assert head.commit == newest.parent
    if not commits:
        assert await chain.fresh() == (newest is not None)


@dataclass
class Given:
    """A chain that is known."""

    refs: tuple[CommitRef, ...]
    plan: Plan
    began_fresh: bool

    async def head(self) -> Plan:
        return self.plan

    async def fresh(self) -> bool:
        return self.began_fresh

    async def commits(self) -> AsyncIterator[CommitRef]:
        for ref in self.refs:
            yield ref

    async def find(self, step: int) -> CommitRef | None:
        return next((ref for ref in self.refs if ref.step == step), None)


REFS = st.lists(
    st.builds(CommitRef, run=st.integers(1, 3), step=st.integers(1, 6)), unique_by=lambda ref: (ref.run, ref.step)
).map(lambda refs: tuple(sorted(refs, key=lambda ref: (ref.run, ref.step), reverse=True)))
POLICIES: list[RestorePolicy] = ["Latest", "Step", "None"]


@settings(max_examples=500, deadline=None)
@given(
    commits=REFS,
    policy=st.sampled_from(POLICIES),
    step=st.integers(1, 6),
    served=st.booleans(),
    fresh=st.booleans(),
    prefix_has_commits=st.booleans(),
)
async def test_rounds_go_strictly_back_and_end(
    commits: tuple[CommitRef, ...],
    policy: RestorePolicy,
    step: int,
    served: bool,
    fresh: bool,
    prefix_has_commits: bool,
) -> None:
    order = RestoreOrder(policy=policy, step=step, digest="d")
    head = Plan(kind="Fresh", job_uid="uid-1", digest="d" if served else "other")
    chain = Given(commits, head, fresh)
    job = config(restore=order)
    has_commits = prefix_has_commits or bool(commits)

    async def any_commit() -> bool:
        return has_commits

    plan = await choose(job, chain, any_commit, None)
    if not served and policy == "None":
        assert (plan.kind, plan.commit) == ("Fresh", None)
    elif not served and policy == "Step":
        assert plan.kind == ("Commit" if any(ref.step == step for ref in commits) else "Refused")
        assert plan.commit is None or plan.commit.step == step
    elif commits:
        assert plan.commit == commits[0]
    else:
        assert plan.kind == ("Fresh" if fresh or not has_commits else "NoRestorableCheckpoint")
    seen = []
    while plan.commit is not None:
        seen.append((plan.commit.run, plan.commit.step))
        plan = await choose(job, chain, any_commit, plan)
        assert plan.kind in ("Commit", "NoRestorableCheckpoint"), "a veto never leads to step 0"
    assert seen == sorted(set(seen), reverse=True)
    if seen:
        assert seen[-1] == (commits[-1].run, commits[-1].step)
