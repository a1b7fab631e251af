"""Several training processes on this machine, forked from the test: nothing is imported again."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState


def run_processes(count: int, task: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`task(*arguments)` in `count` processes of one gloo group on the CPU; their results by rank.

    Raises:
        RuntimeError: with the traceback of a process that fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = []
    for rank, (_, sender) in enumerate(pipes):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        process = context.Process(target=_run, args=(sender, variables, task, arguments))
        process.start()
        processes.append(process)
    results = [_receive(receiver, process) for (receiver, _), process in zip(pipes, processes, strict=True)]
    for process in processes:
        process.join()
    return results


def _receive(receiver: Connection, process: Any) -> Any:
    while not receiver.poll(0.1):
        if not process.is_alive() and not receiver.poll():
            raise RuntimeError(f"a process ended without a result, exit code {process.exitcode}")
    failure, result = receiver.recv()
    if failure:
        raise RuntimeError(failure)
    return result


def _run(sender: Connection, variables: dict[str, Any], task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {name: str(value) for name, value in variables.items()}
    # What the parent knows of its own lone process.
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    torch.set_num_threads(1)
    try:
        sender.send((None, task(*arguments)))
    except BaseException:
        sender.send((traceback.format_exc(), None))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
