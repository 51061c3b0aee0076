package service

import (
	"context"

	"google.golang.org/grpc"
)

// replySlot lets the handler of a unary call reply with a message that is no proto.Message.
type replySlot struct{ message *frameMessage }

// replySlotKey is the context key of a *replySlot.
type replySlotKey struct{}

// payloadUnary sends the frameMessage that a handler left in its slot in place of the handler's own reply. It is the
// innermost interceptor, since those around it pass replies on as they are.
func payloadUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	slot := &replySlot{}
	resp, err := next(context.WithValue(ctx, replySlotKey{}, slot), req)
	if slot.message == nil {
		return resp, err
	}
	if err != nil {
		slot.message.release()
		return nil, err
	}
	return slot.message, nil
}
