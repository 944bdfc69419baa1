"""A service whose one mistake is named by MISTAKE, beside a slow route without a database, a slow query and a write."""

import os
import queue
import random
import threading
import time
from contextlib import contextmanager

import psycopg
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

MISTAKE = os.environ["MISTAKE"]
URL = os.environ["DATABASE_URL"]
SIZE = int(os.environ.get("POOL", "12"))

TIMEOUT_S = 10

app = FastAPI()
pool = queue.Queue()
jobs = queue.Queue()
kept = []
waiting = 0


def connect():
    # A pooler of transactions knows no prepared statements.
    connection = psycopg.connect(URL, application_name="shop", prepare_threshold=None)
    if MISTAKE == "killed":
        connection.execute("SET idle_in_transaction_session_timeout = '300ms'")
        connection.commit()
    return connection


for _ in range(SIZE):
    pool.put(connect())


@contextmanager
def session():
    """A connection of the pool, whose transaction ends with the block."""
    global waiting
    waiting += 1
    try:
        connection = pool.get(timeout=TIMEOUT_S)
    finally:
        waiting -= 1
    try:
        yield connection
        connection.commit()
    finally:
        if connection.closed:
            connection = connect()
        connection.rollback()
        pool.put(connection)


def read(connection, what="town"):
    connection.execute(f"SELECT {what} FROM orders WHERE id = %s", (1,)).fetchone()


def job():
    while True:
        time.sleep(random.uniform(0.2, 0.6))
        with session() as connection:
            read(connection, "id, town")
            time.sleep(0.8)


def task():
    with session() as connection:
        read(connection, "id, town")
        time.sleep(0.8)


def worker():
    """Does what requests have put into the queue, some time after their answers."""
    while True:
        jobs.get()
        time.sleep(0.3)
        task()


def lock():
    """A lock of the session: between its statements it is idle, without a transaction."""
    connection = psycopg.connect(URL, application_name="shop", autocommit=True)
    while True:
        connection.execute("SELECT pg_advisory_lock(7)")
        connection.execute("SELECT 'of somebody else'")
        time.sleep(1.5)
        connection.execute("SELECT pg_advisory_unlock(7)")
        time.sleep(0.1)


asked = 0


@app.get("/requests/{id}")
def request(id: int, tasks: BackgroundTasks):
    global asked
    asked += 1
    if MISTAKE == "task":
        # The request's own session, which the task goes on with.
        connection = pool.get(timeout=TIMEOUT_S)
        read(connection)

        def enrich():
            read(connection, "id, town")
            time.sleep(0.8)
            connection.commit()
            pool.put(connection)

        tasks.add_task(enrich)
    elif MISTAKE == "after":
        tasks.add_task(task)
    elif MISTAKE == "dirty" and asked % 4 == 0:
        # Given back with its transaction open, for whoever comes next.
        connection = pool.get(timeout=TIMEOUT_S)
        read(connection, "id, town")
        pool.put(connection)
    elif MISTAKE == "deadline" and asked % 4 == 0:
        # The deadline ends the request before its commit, and the connection goes back as it is.
        connection = pool.get(timeout=TIMEOUT_S)
        read(connection, "id, town")
        time.sleep(0.1)
        pool.put(connection)
        return JSONResponse({"error": "too late"}, status_code=200)
    elif MISTAKE == "enqueue":
        jobs.put(id)
    elif MISTAKE == "nested":
        with session() as connection:
            read(connection, "id, town")
            with session() as other:
                other.execute("SELECT pg_sleep(0.2)")
    elif MISTAKE == "killed":
        try:
            with session() as connection:
                read(connection, "id, town")
                time.sleep(0.6)
        except psycopg.Error:
            return JSONResponse({"error": "the connection is gone"}, status_code=500)
    elif MISTAKE == "leak" and asked % 10 == 0:
        connection = connect()
        read(connection, "id, town")
        kept.append(connection)
    elif MISTAKE == "lock":
        with session() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(7)")
    elif MISTAKE == "hold":
        with session() as connection:
            read(connection, "id, town")
            time.sleep(0.15)
    else:
        with session() as connection:
            read(connection)
    return {"id": id}


@app.get("/export/{id}")
def export(id: int):
    def rows():
        with session() as connection:
            read(connection, "id, town")
            for _ in range(8):
                time.sleep(0.1)
                yield "x" * 1000

    if MISTAKE == "view":
        with session() as connection:
            read(connection)
            connection.commit()
            time.sleep(2.5)
        return {"id": id}
    if MISTAKE == "rows":
        with session() as connection, connection.cursor() as cursor:
            for _ in cursor.stream("SELECT repeat('x', 1000000) FROM generate_series(1, 25)"):
                time.sleep(0.03)
        return {"id": id}
    def body():
        with session() as connection:
            read(connection, "id, town")
            for _ in range(80):
                yield b"x" * 100_000

    if MISTAKE == "body":
        return StreamingResponse(body())
    if MISTAKE == "stream":
        return StreamingResponse(rows())
    with session() as connection:
        read(connection)
    return {"id": id}


@app.get("/orders/{id}")
def order(id: int):
    with session() as connection:
        read(connection)
    return {"id": id}


@app.get("/weather")
def weather():
    time.sleep(0.3)
    return {}


@app.get("/statistics")
def statistics():
    with session() as connection:
        connection.execute("SELECT pg_sleep(0.1)")
    return {}


@app.post("/notes")
def note():
    with session() as connection:
        connection.execute("UPDATE orders SET town = town WHERE id = 7")
    return {}


@app.get("/metrics")
async def metrics():
    return PlainTextResponse(f"pool_out {SIZE - pool.qsize()}\npool_waiting {waiting}\n")


@app.get("/health")
def health():
    return {}


if MISTAKE == "job":
    for _ in range(2):
        threading.Thread(target=job, daemon=True).start()
if MISTAKE == "enqueue":
    for _ in range(8):
        threading.Thread(target=worker, daemon=True).start()
if MISTAKE == "lock":
    threading.Thread(target=lock, daemon=True).start()
