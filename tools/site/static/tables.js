// A click on a head sorts its table: numbers by value (of "95.0 ± 0.3" the first), then the rest by its letters.
function sortTable(th) {
  const at = th.cellIndex, body = th.closest('table').tBodies[0], up = th.ariaSort !== 'ascending'
  const text = row => row.cells[at].textContent.trim()
  const order = (a, b) => {
    const [x, y] = [parseFloat(a), parseFloat(b)], [p, q] = [isNaN(x), isNaN(y)]
    return p !== q ? p - q : (p ? a.localeCompare(b) : x - y)*(up ? 1 : -1)
  }
  for (const other of th.parentNode.cells) other.ariaSort = null
  th.ariaSort = up ? 'ascending' : 'descending'
  body.append(...[...body.rows].sort((a, b) => order(text(a), text(b))))
}

document.addEventListener('click', e => {
  const th = e.target.closest('.md-typeset thead th')
  if (th) sortTable(th)
})
for (const th of document.querySelectorAll('.md-typeset thead th')) {
  th.tabIndex = 0
  th.addEventListener('keydown', e => { if (e.key === 'Enter') sortTable(th) })
}
