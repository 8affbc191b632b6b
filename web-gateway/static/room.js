// SPDX-License-Identifier: Apache-2.0
// The room page: what the broker delivers is shown, what the form says is posted. Text of other
// people is only ever written as textContent.
'use strict';

(() => {
  const byId = id => document.getElementById(id);
  const {room, broker} = document.body.dataset;
  const KEPT = 500;   // messages in the page; older ones leave

  // -- messages ------------------------------------------------------------------------------

  const list = byId('messages'), scroller = byId('scroller'), newest = byId('newest');
  const clock = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'});
  const fullDate = new Intl.DateTimeFormat(undefined, {dateStyle: 'full', timeStyle: 'medium'});

  const element = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  const tint = name => {
    let sum = 0;
    for (const c of name) sum = (sum * 31 + c.codePointAt(0)) % 997;
    return sum % 6;
  };

  const timeOf = sent => {
    const date = new Date(sent), time = element('time');
    if (Number.isNaN(date.getTime())) return time;
    time.dateTime = sent;
    time.textContent = clock.format(date);
    time.title = fullDate.format(date);
    return time;
  };

  const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  const toEnd = () => { scroller.scrollTop = scroller.scrollHeight; newest.hidden = true; };

  const append = item => {
    const follow = atEnd();
    byId('empty').hidden = true;
    list.append(item);
    while (list.children.length > KEPT) list.firstElementChild.remove();
    if (follow) toEnd();
    else newest.hidden = false;
  };

  const show = model => {
    if (!model || typeof model.id !== 'string' || byId(`message-${model.id}`)) return;
    const user = model.fromUser || {};
    const username = String(user.username || 'guest'), name = String(user.displayName || username);
    const item = element('li', 'message'), by = element('div', 'by');
    item.id = `message-${model.id}`;
    const avatar = element('span', `avatar tint-${tint(username)}`, [...name][0].toUpperCase());
    avatar.setAttribute('aria-hidden', 'true');
    by.append(element('span', 'author', name));
    if (name !== username) by.append(element('span', 'handle', `@${username}`));
    by.append(timeOf(model.sent));
    item.append(avatar, by, element('div', 'body', String(model.text ?? '')));
    append(item);
  };

  const note = text => append(element('li', 'note', text));

  newest.addEventListener('click', toEnd);
  scroller.addEventListener('scroll', () => { if (atEnd()) newest.hidden = true; }, {passive: true});

  // -- connection ----------------------------------------------------------------------------

  const connection = byId('connection');
  let transport = '';
  let subscribed = false;   // before that, what is said is not heard

  const setState = (state, words) => {
    connection.dataset.state = state;
    if (byId('state').textContent !== words) byId('state').textContent = words;
    byId('transport').textContent = state === 'live' ? transport : '';
  };
  const live = () => setState('live', 'Live');
  const waiting = () => setState('waiting', 'Reconnecting');

  const client = new Faye.Client(broker, {timeout: 60, retry: 2});
  let handshakes = 0;

  client.addExtension({
    outgoing(message, callback) {
      if (message.channel === '/meta/connect' && message.connectionType !== transport) {
        transport = message.connectionType;
        if (connection.dataset.state === 'live') live();
      }
      callback(message);
    },
    incoming(message, callback) {
      // A session that had to be made anew did not get what was sent in between.
      if (message.channel === '/meta/handshake' && message.successful && ++handshakes > 1)
        note('Connected again. Messages sent meanwhile may be missing here.');
      callback(message);
    },
  });
  client.on('transport:up', () => subscribed && live());
  client.on('transport:down', waiting);
  window.addEventListener('offline', waiting);

  client.subscribe(`/api/v1/rooms/${room}/chatMessages`, event => {
    if (event && event.operation === 'create') show(event.model);
  }).then(() => { subscribed = true; live(); }, error => setState('waiting', `Not subscribed: ${error.message}`));

  // -- composer ------------------------------------------------------------------------------

  const form = byId('composer'), text = byId('text'), name = byId('name'), send = byId('send'), problem = byId('problem');

  try { name.value = localStorage.getItem('mora.name') || ''; } catch { /* storage is off */ }
  name.addEventListener('change', () => {
    try { localStorage.setItem('mora.name', name.value.trim()); } catch { /* storage is off */ }
  });

  const post = async () => {
    const username = name.value.trim();
    const body = {text: text.value, ...(username && {fromUser: {username}})};
    const response = await fetch(`/rooms/${room}/messages`, {
      method: 'POST',
      headers: {'content-type': 'application/json'},
      body: JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
    return answer;
  };

  form.addEventListener('submit', async event => {
    event.preventDefault();
    if (send.disabled || !text.value.trim()) return;
    send.disabled = true;
    problem.textContent = '';
    try {
      const model = await post();
      text.value = '';
      show(model);   // usually it is there already
      toEnd();
    } catch (error) {
      problem.textContent = `Not sent: ${error.message}`;
    }
    send.disabled = false;
    text.focus();
  });

  text.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
})();
