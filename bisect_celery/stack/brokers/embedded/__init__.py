"""The embedded broker: an AMQP 0-9-1 server in a process of its own, for machines without RabbitMQ.

Every kombu depends on py-amqp, so a project's worker keeps the very transport it uses in production; no
other stand-in that needs no installation can say that. It calls itself RabbitMQ on the wire, because Celery
and kombu choose their code path by that name (per-consumer prefetch, for one), and follows RabbitMQ 3.x
where RabbitMQ and the specification differ. Everywhere else it says "emulated".

Emulated: PLAIN and AMQPLAIN, heartbeats, virtual hosts with users; direct, fanout and topic exchanges and
bindings between exchanges; durable (as a flag: nothing outlives the process), exclusive, auto-delete and
server-named queues; `x-expires`, `x-message-ttl` and a message's own expiration (Celery's remote control and
event queues use them); prefetch per consumer and per channel; get, ack, nack, reject, recover; requeueing to
the original position at once when a channel or connection goes; mandatory, publisher confirms; consumer
cancel notifications; equivalence checks; flow control in both directions with a memory alarm.

Refused with 540 NOT_IMPLEMENTED and a sentence that names the feature, never ignored: quorum queues and
streams, priorities of queues and consumers, dead letters, length limits, single active consumers, headers and
delayed exchanges, alternate exchanges, CC and BCC, direct reply-to, transactions, permissions other than
everything on a virtual host. Ignored, because no trial lasts so long or asks: RabbitMQ's 30 minutes within which a
delivery must be acknowledged, `x-` arguments that only say how messages are stored, and clusters, TLS, plugins.

`faults`, `routing`, `queues`, `arguments`, `vhost`, `channel`, `session` and `broker` are a pure state
machine: no socket and no clock, time is told to it. `wire`, `handshake`, `methods`, `connection`, `server`
and `management` put it on sockets.
"""
