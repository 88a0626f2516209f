"""AMQP's channel methods, each handed to the channel of the state machine, with the answer as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pamqp import base, commands

from bisect_celery.stack.brokers.embedded.channel import Channel
from bisect_celery.stack.brokers.embedded.events import Cancelled, Confirmed, Deliver, Event, Returned
from bisect_celery.stack.brokers.embedded.faults import ConnectionFault, not_emulated
from bisect_celery.stack.brokers.embedded.wire import content_frames, method_frame

Basic, Confirm, Exchange, Queue, Tx = commands.Basic, commands.Confirm, commands.Exchange, commands.Queue, commands.Tx

# `Any` below is one of pamqp's methods: the table says which, and pamqp's types say `T | None` for arguments
# that are always there after decoding.
Handler = Callable[[Channel, Any, int], bytes]


def handle(channel: Channel, method: base.Frame, frame_max: int) -> bytes:
    """Do what the method says; the answer, empty when it has none. Raises Fault."""
    handler = _HANDLERS.get(type(method))
    if handler is None:
        raise ConnectionFault(503, f"{method.name} is not for a server")
    return handler(channel, method, frame_max)


def event_bytes(channel: int, event: Event, frame_max: int) -> bytes:
    """An event of the state machine as frames."""
    if isinstance(event, Deliver):
        tag, number, redelivered, content = event
        head = method_frame(
            channel, Basic.Deliver, tag, number, redelivered, content.exchange, content.routing_key
        )  # fmt: skip
        return head + content_frames(channel, content.properties, content.body, frame_max)
    if isinstance(event, Confirmed):
        return method_frame(channel, Basic.Ack, event.delivery_tag, False)
    if isinstance(event, Returned):
        content = event.content
        head = method_frame(channel, Basic.Return, 312, "NO_ROUTE", content.exchange, content.routing_key)
        return head + content_frames(channel, content.properties, content.body, frame_max)
    assert isinstance(event, Cancelled)
    return method_frame(channel, Basic.Cancel, event.consumer_tag, True)


def _reply(channel: Channel, method: Any, kind: type[base.Frame], *values: Any) -> bytes:
    return b"" if getattr(method, "nowait", False) else method_frame(channel.number, kind, *values)


def _exchange_declare(channel: Channel, method: Any, _: int) -> bytes:
    if method.passive:
        channel.vhost.exchange(method.exchange)
    else:
        channel.vhost.declare_exchange(
            method.exchange, method.exchange_type, durable=method.durable, auto_delete=method.auto_delete,
            internal=method.internal, arguments=method.arguments or {},
        )  # fmt: skip
    return _reply(channel, method, Exchange.DeclareOk)


def _exchange_delete(channel: Channel, method: Any, _: int) -> bytes:
    channel.vhost.delete_exchange(method.exchange, method.if_unused)
    return _reply(channel, method, Exchange.DeleteOk)


def _exchange_bind(channel: Channel, method: Any, _: int) -> bytes:
    channel.bind_exchange(method.destination, method.source, method.routing_key, method.arguments or {})
    return _reply(channel, method, Exchange.BindOk)


def _exchange_unbind(channel: Channel, method: Any, _: int) -> bytes:
    channel.unbind_exchange(method.destination, method.source, method.routing_key, method.arguments or {})
    return _reply(channel, method, Exchange.UnbindOk)


def _queue_declare(channel: Channel, method: Any, _: int) -> bytes:
    queue = channel.declare_queue(
        method.queue, passive=method.passive, durable=method.durable, exclusive=method.exclusive,
        auto_delete=method.auto_delete, arguments=method.arguments or {},
    )  # fmt: skip
    return _reply(channel, method, Queue.DeclareOk, queue.name, queue.ready_count(), len(queue.consumers))


def _queue_bind(channel: Channel, method: Any, _: int) -> bytes:
    channel.bind_queue(method.queue, method.exchange, method.routing_key, method.arguments or {})
    return _reply(channel, method, Queue.BindOk)


def _queue_unbind(channel: Channel, method: Any, _: int) -> bytes:
    channel.unbind_queue(method.queue, method.exchange, method.routing_key, method.arguments or {})
    return _reply(channel, method, Queue.UnbindOk)


def _queue_purge(channel: Channel, method: Any, _: int) -> bytes:
    return _reply(channel, method, Queue.PurgeOk, channel.purge_queue(method.queue))


def _queue_delete(channel: Channel, method: Any, _: int) -> bytes:
    count = channel.delete_queue(method.queue, method.if_unused, method.if_empty)
    return _reply(channel, method, Queue.DeleteOk, count)


def _basic_qos(channel: Channel, method: Any, _: int) -> bytes:
    if method.prefetch_size:
        raise ConnectionFault(540, f"prefetch_size!=0 ({method.prefetch_size})")
    channel.qos(method.prefetch_count, shared=method.global_)
    return _reply(channel, method, Basic.QosOk)


def _basic_consume(channel: Channel, method: Any, _: int) -> bytes:
    consumer = channel.consume(
        method.queue, method.consumer_tag, no_ack=method.no_ack, exclusive=method.exclusive,
        arguments=method.arguments or {},
    )  # fmt: skip
    return _reply(channel, method, Basic.ConsumeOk, consumer.tag)


def _basic_cancel(channel: Channel, method: Any, _: int) -> bytes:
    channel.cancel(method.consumer_tag)
    return _reply(channel, method, Basic.CancelOk, method.consumer_tag)


def _basic_get(channel: Channel, method: Any, frame_max: int) -> bytes:
    got = channel.get(method.queue, method.no_ack)
    if got is None:
        return method_frame(channel.number, Basic.GetEmpty, "")
    content = got.content
    head = method_frame(
        channel.number, Basic.GetOk, got.delivery_tag, got.redelivered, content.exchange, content.routing_key,
        got.remaining,
    )  # fmt: skip
    return head + content_frames(channel.number, content.properties, content.body, frame_max)


def _basic_ack(channel: Channel, method: Any, _: int) -> bytes:
    channel.ack(method.delivery_tag, method.multiple)
    return b""


def _basic_nack(channel: Channel, method: Any, _: int) -> bytes:
    channel.reject(method.delivery_tag, method.multiple, method.requeue)
    return b""


def _basic_reject(channel: Channel, method: Any, _: int) -> bytes:
    channel.reject(method.delivery_tag, requeue=method.requeue)
    return b""


def _basic_recover(channel: Channel, method: Any, _: int) -> bytes:
    channel.recover(method.requeue)
    return method_frame(channel.number, Basic.RecoverOk)


def _basic_recover_async(channel: Channel, method: Any, _: int) -> bytes:
    channel.recover(method.requeue)
    return b""


def _confirm_select(channel: Channel, method: Any, _: int) -> bytes:
    channel.select_confirms()
    return _reply(channel, method, Confirm.SelectOk)


def _flow(channel: Channel, method: Any, _: int) -> bytes:
    if not method.active:
        raise ConnectionFault(540, "active=false")
    return method_frame(channel.number, commands.Channel.FlowOk, True)


def _tx(channel: Channel, method: Any, _: int) -> bytes:
    raise not_emulated("transactions (tx)")


_HANDLERS: dict[type[base.Frame], Handler] = {
    Exchange.Declare: _exchange_declare,
    Exchange.Delete: _exchange_delete,
    Exchange.Bind: _exchange_bind,
    Exchange.Unbind: _exchange_unbind,
    Queue.Declare: _queue_declare,
    Queue.Bind: _queue_bind,
    Queue.Unbind: _queue_unbind,
    Queue.Purge: _queue_purge,
    Queue.Delete: _queue_delete,
    Basic.Qos: _basic_qos,
    Basic.Consume: _basic_consume,
    Basic.Cancel: _basic_cancel,
    Basic.Get: _basic_get,
    Basic.Ack: _basic_ack,
    Basic.Nack: _basic_nack,
    Basic.Reject: _basic_reject,
    Basic.Recover: _basic_recover,
    Basic.RecoverAsync: _basic_recover_async,
    Confirm.Select: _confirm_select,
    commands.Channel.Flow: _flow,
    Tx.Select: _tx,
    Tx.Commit: _tx,
    Tx.Rollback: _tx,
}
