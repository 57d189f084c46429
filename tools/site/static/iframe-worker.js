// Pages opened as files, without a server: browsers refuse the Worker that searches, so it runs in a hidden frame.
if (location.protocol === 'file:') window.Worker = window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super()
    const inner = this.inner = document.body.appendChild(
      Object.assign(document.createElement('iframe'), {hidden: true})).contentWindow
    inner.document.open()
    inner.postMessage = data => setTimeout(() => this.dispatchEvent(new MessageEvent('message', {data})))
    inner.importScripts = async (...urls) => { for (const u of urls) await this.load(u) }
    inner.document.write('<body></body>')
    inner.document.close()
    this.ready = this.load(url)
  }
  load(src) {
    return new Promise((done, failed) => this.inner.document.body.append(
      Object.assign(this.inner.document.createElement('script'), {src, onload: done, onerror: failed})))
  }
  async postMessage(data) {
    await this.ready
    this.inner.dispatchEvent(new this.inner.MessageEvent('message', {data}))
  }
  terminate() { this.inner.frameElement.remove() }
}
