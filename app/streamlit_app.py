"""`streamlit run app`, and what `routescope app` serves: the pages behind the guard."""

import streamlit as st

from app import server

app = st.App(
    "navigation.py",
    lifespan=server.lifespan,
    middleware=server.MIDDLEWARE,
    exception_handlers=server.ON_ERROR,
)
