"""Opens pages in headless Chromium over the DevTools protocol: what tests of pages need, and no more."""
import asyncio
import base64
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import websockets

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


class Tab:
    """One page. `problems` has what the console said and what was requested beyond the file itself."""

    def __init__(self, socket):
        self.socket, self.number, self.problems, self.loaded = socket, 0, [], False
        self.waiting = {}

    async def listen(self):
        async for text in self.socket:
            message = json.loads(text)
            if 'id' in message:
                self.waiting.pop(message['id']).set_result(message)
            elif message['method'] == 'Runtime.exceptionThrown':
                details = message['params']['exceptionDetails']
                self.problems.append('exception: ' + details.get('exception', {}).get('description', details['text']))
            elif message['method'] in ('Log.entryAdded', 'Runtime.consoleAPICalled'):
                self.problems.append('console: ' + json.dumps(message['params'])[:600])
            elif message['method'] == 'Network.requestWillBeSent':
                url = message['params']['request']['url']
                if not url.startswith(('file:', 'data:')) or message['params']['type'] != 'Document' and not url.startswith('data:'):
                    self.problems.append('request: ' + url)
            elif message['method'] == 'Page.loadEventFired':
                self.loaded = True

    async def call(self, method, **params):
        self.number += 1
        future = asyncio.get_running_loop().create_future()
        self.waiting[self.number] = future
        await self.socket.send(json.dumps({'id': self.number, 'method': method, 'params': params}))
        reply = await asyncio.wait_for(future, 60)
        if 'error' in reply:
            raise RuntimeError(f'{method}: {reply["error"]}')
        return reply['result']

    async def open(self, path, width=1440, height=900, dark=False, phone=False):
        self.problems.clear()
        self.loaded = False
        await self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=phone)
        await self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        await self.call('Page.navigate', url=pathlib.Path(path).resolve().as_uri())
        for _ in range(600):
            if self.loaded:
                break
            await asyncio.sleep(0.05)
        assert self.loaded, f'{path} did not load within 30 s'

    async def ask(self, expression):
        reply = await self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in reply, reply
        return reply['result'].get('value')

    async def screenshot(self, file, whole=True, clip=None):
        params = {'captureBeyondViewport': whole}
        if clip:
            params['clip'] = dict(zip(('x', 'y', 'width', 'height'), clip), scale=1)
        elif whole:
            size = (await self.call('Page.getLayoutMetrics'))['cssContentSize']
            params['clip'] = {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}
        reply = await self.call('Page.captureScreenshot', **params)
        pathlib.Path(file).write_bytes(base64.b64decode(reply['data']))

    async def pdf(self, file):
        reply = await self.call('Page.printToPDF', printBackground=False)
        pathlib.Path(file).write_bytes(base64.b64decode(reply['data']))


async def with_tab(work):
    """Starts a browser, awaits work(tab), and ends the browser."""
    assert BROWSER, 'no Chromium here: apt-get install chromium python3-websockets'
    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.Popen(
            [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-port=0', '--no-first-run', '--hide-scrollbars',
             f'--user-data-dir={profile}', 'about:blank'], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            port = None
            for line in process.stderr:
                if found := re.search(r'ws://[^:]+:(\d+)/', line):
                    port = int(found.group(1))
                    break
            assert port, 'the browser did not start'
            import urllib.request
            pages = json.load(urllib.request.urlopen(f'http://127.0.0.1:{port}/json/list'))
            url = next(p for p in pages if p['type'] == 'page')['webSocketDebuggerUrl']
            async with websockets.connect(url, max_size=None) as socket:
                tab = Tab(socket)
                listener = asyncio.create_task(tab.listen())
                for domain in ('Page', 'Runtime', 'Log', 'Network'):
                    await tab.call(domain + '.enable')
                try:
                    return await work(tab)
                finally:
                    listener.cancel()
        finally:
            process.terminate()
            process.wait(30)
