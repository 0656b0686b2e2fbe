"""The Streamlit app: `launch` starts it, `page` draws it, `workspace` keeps what outlives a browser tab.

Nothing here imports Keras: the page must show at once. Processes of their own do the work.
"""
