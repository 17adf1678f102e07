// MQTT.js, told on standard input what to do, a JSON object a line; what happens goes to standard output likewise.
// Its counterpart in Python is paho_client.py: the two understand the same words.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const mqtt = require('mqtt')

// The words of the conversation, and MQTT.js's names.
const WORDS = {
  payload_format_indicator: 'payloadFormatIndicator',
  message_expiry_interval: 'messageExpiryInterval',
  content_type: 'contentType',
  response_topic: 'responseTopic',
  correlation_data: 'correlationData',
  user: 'userProperties',
  subscription_identifier: 'subscriptionIdentifier',
  session_expiry_interval: 'sessionExpiryInterval',
  receive_maximum: 'receiveMaximum',
  maximum_packet_size: 'maximumPacketSize',
  topic_alias_maximum: 'topicAliasMaximum',
  topic_alias: 'topicAlias',
  will_delay_interval: 'willDelayInterval',
  assigned_client_identifier: 'assignedClientIdentifier',
}

function say (event, details) {
  process.stdout.write(JSON.stringify({ event, ...details }) + '\n')
}

// User properties are pairs here and an object of lists there.
function propertiesOf (words = {}) {
  const properties = {}
  for (const [word, value] of Object.entries(words)) {
    let theirs = value
    if (word === 'correlation_data') theirs = Buffer.from(value, 'hex')
    if (word === 'payload_format_indicator') theirs = value === 1
    if (word === 'user') {
      theirs = {}
      for (const [name, text] of value) theirs[name] = [...(theirs[name] ?? []), text]
    }
    properties[WORDS[word]] = theirs
  }
  return properties
}

function wordsOf (properties = {}) {
  const words = {}
  for (const [word, name] of Object.entries(WORDS)) {
    const value = properties[name]
    if (value === undefined) continue
    if (word === 'correlation_data') words[word] = value.toString('hex')
    else if (word === 'payload_format_indicator') words[word] = Number(value)
    else if (word === 'subscription_identifier') words[word] = [value].flat()
    else if (word === 'user') {
      words[word] = Object.entries(value).flatMap(([name, texts]) => [texts].flat().map((text) => [name, text]))
    } else words[word] = value
  }
  return words
}

let client
let version

// What is said when an operation is over; errors carry the reason code where there is one.
function over (event, details) {
  return (error, ...results) => {
    if (error) say('failed', { why: String(error), reason: error.code })
    else say(event, details ? details(...results) : {})
  }
}

const commands = {
  connect ({ host, port, id, version: asked, transport = 'tcp', ca, clean = true, keep_alive: keepalive = 60, will,
    user_name: username, password, properties }) {
    version = asked
    client = mqtt.connect({
      protocol: { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' }[transport],
      host,
      port,
      path: '/mqtt',
      clientId: id,
      protocolVersion: version,
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      clean,
      keepalive,
      username,
      password,
      ca: ca && fs.readFileSync(ca),
      reconnectPeriod: 0,
      resubscribe: false,
      properties: version === 5 ? propertiesOf(properties) : undefined,
      will: will && {
        topic: will.topic,
        payload: Buffer.from(will.payload, 'hex'),
        qos: will.qos ?? 0,
        retain: will.retain ?? false,
        properties: version === 5 ? propertiesOf(will.properties) : undefined,
      },
    })
    client.on('connect', (connack) => say('connected', {
      session_present: connack.sessionPresent,
      reason: connack.reasonCode ?? connack.returnCode,
      properties: wordsOf(connack.properties),
    }))
    client.on('error', (error) => say('failed', { why: String(error), reason: error.code }))
    client.on('disconnect', (packet) => say('disconnected', { reason: packet.reasonCode ?? 0, by_server: true }))
    client.on('close', () => say('closed', {}))
    client.on('message', (topic, payload, packet) => say('message', {
      topic,
      payload: payload.toString('hex'),
      qos: packet.qos,
      retain: packet.retain,
      dup: packet.dup,
      properties: wordsOf(packet.properties),
    }))
  },

  subscribe ({ filter, qos = 0, no_local: nl, retain_as_published: rap, retain_handling: rh, properties }) {
    const options = version === 5 ? { qos, nl, rap, rh, properties: propertiesOf(properties) } : { qos }
    client.subscribe(filter, options, over('subscribed', (granted) => ({ codes: granted.map((one) => one.qos) })))
  },

  unsubscribe ({ filter }) {
    client.unsubscribe(filter, over('unsubscribed'))
  },

  publish ({ topic, payload, qos = 0, retain = false, properties }) {
    const options = { qos, retain }
    if (version === 5) options.properties = propertiesOf(properties)
    client.publish(topic, Buffer.from(payload, 'hex'), options, over('published', (packet) => ({
      reason: packet?.reasonCode ?? 0,
    })))
  },

  disconnect () {
    client.end()
  },

  vanish () {
    client.stream.destroy()
  },
}

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const command = JSON.parse(line)
  try {
    commands[command.do](command)
  } catch (error) {
    say('failed', { why: String(error) })
  }
})
lines.on('close', () => process.exit(0))
