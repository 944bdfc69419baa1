"""A service whose pool has ten connections: one route loses one with each request, another gives them back in aborted transactions."""

import os
import queue

import psycopg
from fastapi import FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()
pool = queue.Queue()
lost = []
for _ in range(10):
    pool.put(psycopg.connect(os.environ["DATABASE_URL"], application_name="receipts"))


def read(connection, id):
    connection.execute("SELECT id, town FROM orders WHERE id = %s", (id,)).fetchone()


@app.get("/receipts/{id}")
def receipt(id: int):
    connection = pool.get()
    read(connection, id)
    connection.commit()
    # Never given back.
    lost.append(connection)
    return {"id": id}


@app.get("/invoices/{id}")
def invoice(id: int):
    connection = pool.get()
    try:
        read(connection, id)
        connection.execute("SELECT 1 / 0")
    except psycopg.Error:
        # Neither commit nor rollback.
        pass
    finally:
        pool.put(connection)
    return {"id": id}


@app.get("/orders/{id}")
def order(id: int):
    connection = pool.get()
    try:
        read(connection, id)
        connection.commit()
    except psycopg.Error as error:
        return JSONResponse({"error": str(error)}, status_code=500)
    finally:
        pool.put(connection)
    return {"id": id}


@app.get("/weather")
def weather():
    return {}
